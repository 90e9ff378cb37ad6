#include "engine/scheduler.h"

#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "base/checked_math.h"

namespace awq::engine {

bool Scheduler::Older::operator()(const Sequence* a, const Sequence* b) const {
  if (a->request->priority != b->request->priority) return a->request->priority < b->request->priority;
  return a->arrival != b->arrival ? a->arrival < b->arrival : a->choice < b->choice;
}

Scheduler::Scheduler(const SchedulerOptions& options, BlockManager& blocks) : options_(options), blocks_(blocks) {
  // Every running sequence gets a token each step, and prompts get on beside them.
  AWQ_CHECK(options.max_num_seqs > 0 && options.max_num_batched_tokens > options.max_num_seqs);
  running_.reserve(static_cast<std::size_t>(options.max_num_seqs));
  slices_.reserve(static_cast<std::size_t>(options.max_num_seqs));
}

void Scheduler::add(Sequence& sequence) { waiting_.insert(&sequence); }

/// Takes a sequence out of the list it is in.
void Scheduler::leave(Sequence& sequence) {
  if (sequence.paused) {
    --paused_;
    lenders_.erase(&sequence);
  } else if (sequence.running) {
    std::erase(running_, &sequence);
  } else {
    waiting_.erase(&sequence);
  }
  sequence.running = sequence.paused = false;
}

void Scheduler::start(Sequence& sequence) {
  sequence.running = true;
  running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence, Older()), &sequence);
}

void Scheduler::remove(Sequence& sequence) {
  leave(sequence);
  give_up_blocks(sequence);
}

void Scheduler::pause(Sequence& sequence) {
  if (sequence.paused) return;
  leave(sequence);
  sequence.paused = true;
  sequence.draft.clear();
  ++paused_;
  if (!sequence.blocks.empty()) lenders_.insert(&sequence);
}

void Scheduler::resume(Sequence& sequence) {
  if (!sequence.paused) return;
  leave(sequence);
  if (!sequence.blocks.empty() && running_count() < options_.max_num_seqs) return start(sequence);
  give_up_blocks(sequence);
  waiting_.insert(&sequence);
}

/// Frees the blocks of the youngest paused sequence that has any; false when none has.
bool Scheduler::take_from_paused() {
  if (lenders_.empty()) return false;
  const auto youngest = std::prev(lenders_.end());
  give_up_blocks(**youngest);
  lenders_.erase(youngest);
  ++counters_.preemptions;
  return true;
}

void Scheduler::give_up_blocks(Sequence& sequence) {
  blocks_.release(sequence.blocks);
  sequence.blocks.clear();
  sequence.computed = sequence.published = 0;
  sequence.prefix = 0;
}

std::int64_t Scheduler::missing_blocks(const Sequence& sequence, std::int64_t tokens) const {
  const auto size = static_cast<std::uint64_t>(blocks_.block_size());
  const auto needed = static_cast<std::int64_t>(ceil_div(static_cast<std::uint64_t>(tokens), size));
  return std::max<std::int64_t>(0, needed - static_cast<std::int64_t>(sequence.blocks.size()));
}

/// Gives the table of `sequence` room for `tokens`; false when it had to be preempted itself.
bool Scheduler::grow(Sequence& sequence, std::int64_t tokens, std::int64_t& budget) {
  while (missing_blocks(sequence, tokens) > blocks_.free_count()) {
    if (take_from_paused()) continue;
    Sequence& youngest = *running_.back();
    preempt(youngest, budget);
    if (&youngest == &sequence) return false;
  }
  for (std::int64_t missing = missing_blocks(sequence, tokens); missing > 0; --missing) {
    sequence.blocks.push_back(blocks_.allocate());
  }
  return true;
}

void Scheduler::preempt(Sequence& sequence, std::int64_t& budget) {
  const auto slice =
      std::find_if(slices_.begin(), slices_.end(), [&](const ScheduledSlice& s) { return s.sequence == &sequence; });
  if (slice != slices_.end()) {  // decoding sequences were served before older ones with longer parts
    budget += slice->count + slice->drafts;
    slices_.erase(slice);
  }
  leave(sequence);
  sequence.draft.clear();
  give_up_blocks(sequence);
  waiting_.insert(&sequence);
  ++counters_.preemptions;
  preempted_ = true;
}

void Scheduler::run(Sequence& sequence, std::int64_t& budget) {
  const std::int64_t count = std::min(sequence.length() - sequence.computed, budget);
  if (count <= 0 || !grow(sequence, sequence.computed + count, budget)) return;
  budget -= count;
  std::int64_t drafts = 0;
  if (sequence.computed + count == sequence.length()) {
    // Guesses take only what is left over: tokens and free blocks that nobody needs in this step.
    const std::int64_t spare = std::max<std::int64_t>(0, blocks_.free_count() - running_count());
    const std::int64_t room = (static_cast<std::int64_t>(sequence.blocks.size()) + spare) * blocks_.block_size();
    drafts =
        std::min({static_cast<std::int64_t>(sequence.draft.size()), budget, draft_budget_, room - sequence.length()});
    if (drafts > 0) AWQ_CHECK(grow(sequence, sequence.length() + drafts, budget));
    budget -= drafts;
    draft_budget_ -= drafts;
  }
  slices_.push_back({&sequence, count, drafts});
}

std::span<const ScheduledSlice> Scheduler::schedule() {
  slices_.clear();
  preempted_ = false;
  std::int64_t budget = options_.max_num_batched_tokens;
  draft_budget_ = std::min((budget - options_.max_num_seqs), budget / 4);
  // Preemption removes from the end, where the youngest are: indices of the ones before stay. The two rounds keep
  // decoding sequences from waiting behind somebody's long prompt.
  for (const bool decoding : {true, false}) {
    for (std::size_t i = 0; i < running_.size(); ++i) {
      Sequence& sequence = *running_[i];
      if ((sequence.length() - sequence.computed == 1) == decoding) run(sequence, budget);
    }
  }
  if (!preempted_) admit(budget);
  return slices_;
}

std::int64_t Scheduler::shared_blocks(const Sequence& sequence) const {
  return (sequence.prompt_count() - 1) / blocks_.block_size();
}

/// True while the first choice of the request computes the prompt that this one can share.
bool Scheduler::has_to_follow(const Sequence& sequence) const {
  const Sequence* leader = sequence.request->leader;
  return leader != nullptr && leader != &sequence && leader->computed < shared_blocks(sequence) * blocks_.block_size();
}

/// Fills the table of an empty sequence with blocks that hold the beginning of its text already. At least one token is
/// left to run: its logits are needed.
void Scheduler::find_prefix(Sequence& sequence) {
  const std::int64_t size = blocks_.block_size();
  if (options_.prefix_caching && !sequence.wants_prompt_logprobs()) {
    for (std::int64_t begin = 0; begin + size < sequence.length(); begin += size) {
      const auto tokens = std::span<const std::int32_t>(sequence.ids)
                              .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size));
      const BlockManager::Found found = blocks_.find(sequence.prefix, sequence.request->cache_salt, tokens);
      if (found.block < 0) break;
      blocks_.add_reference(found.block);
      sequence.blocks.push_back(found.block);
      sequence.prefix = found.prefix;
      ++sequence.published;
    }
  }
  // Choices of one request share the blocks of their prompt with or without the cache.
  const Sequence* leader = sequence.request->leader;
  if (leader != nullptr && leader != &sequence && leader->running) {
    const std::int64_t shared = std::min(shared_blocks(sequence), leader->computed / size);
    while (static_cast<std::int64_t>(sequence.blocks.size()) < shared) {
      const std::int32_t block = leader->blocks[sequence.blocks.size()];
      blocks_.add_reference(block);
      sequence.blocks.push_back(block);
    }
  }
  sequence.computed = static_cast<std::int64_t>(sequence.blocks.size()) * size;
}

void Scheduler::admit(std::int64_t budget) {
  auto next = waiting_.begin();
  while (next != waiting_.end() && budget > 0 && running_count() < options_.max_num_seqs) {
    Sequence& sequence = **next;
    if (has_to_follow(sequence)) {
      ++next;
      continue;
    }
    find_prefix(sequence);
    // Room for the whole text, and a block for each running sequence to go on with: or it would soon be preempted.
    const std::int64_t reserve = running_.empty() ? 0 : running_count();
    const std::int64_t needed = missing_blocks(sequence, sequence.length()) + reserve;
    while (needed > blocks_.free_count() && take_from_paused()) {
    }
    if (needed > blocks_.free_count()) {
      give_up_blocks(sequence);
      return;  // nobody overtakes
    }
    if (options_.prefix_caching && !sequence.wants_prompt_logprobs()) {
      counters_.prefix_queries += static_cast<std::uint64_t>(sequence.length());
      counters_.prefix_hits += static_cast<std::uint64_t>(sequence.computed);
    }
    if (sequence.output_count() == 0) sequence.cached_tokens = sequence.computed;
    next = waiting_.erase(next);
    start(sequence);
    run(sequence, budget);
  }
}

void Scheduler::advance(Sequence& sequence, std::int64_t tokens) {
  sequence.computed += tokens;
  AWQ_CHECK(sequence.computed <= sequence.length());
  if (!options_.prefix_caching) return;
  const std::int64_t size = blocks_.block_size();
  for (; (sequence.published + 1) * size <= sequence.computed; ++sequence.published) {
    const auto block = static_cast<std::size_t>(sequence.published);
    sequence.prefix =
        blocks_.publish(sequence.blocks[block], sequence.prefix, sequence.request->cache_salt,
                        std::span<const std::int32_t>(sequence.ids)
                            .subspan(block * static_cast<std::size_t>(size), static_cast<std::size_t>(size)));
  }
}

}  // namespace awq::engine
