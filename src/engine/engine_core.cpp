#include "engine/engine_core.h"

#include <algorithm>

#include "base/check.h"

namespace awq::engine {
namespace {

bool gives_tokens(const ScheduledSlice& slice) {
  return slice.sequence->computed + slice.count == slice.sequence->length();
}

}  // namespace

EngineCore::EngineCore(StepModel& model, EngineOptions options, HashKey key)
    : model_(model),
      options_(completed(options, model)),
      blocks_(model.block_count(), model.block_size(), key),
      scheduler_({.max_num_seqs = options_.max_num_seqs,
                  .max_num_batched_tokens = options_.max_num_batched_tokens,
                  .prefix_caching = options_.prefix_caching},
                 blocks_),
      sampler_(model.vocab_size(), model.eos_token_ids()),
      turns_(options_.constraint_work_per_step) {
  const auto sequences = static_cast<std::size_t>(options_.max_num_seqs);
  ids_.reserve(static_cast<std::size_t>(options_.max_num_batched_tokens));
  slices_.reserve(sequences);
  first_token_.reserve(sequences);
  rows_.reserve(static_cast<std::size_t>(std::max(kLogitRows, options_.max_num_batched_tokens)));
  rules_.reserve(static_cast<std::size_t>(options_.max_num_batched_tokens));
  picks_.reserve(static_cast<std::size_t>(options_.max_num_batched_tokens));
  picks_of_.reserve(sequences);
  turns_.reserve(sequences);
  ended_.reserve(sequences);
  totals_.kv_blocks_total = model.block_count();
  totals_.kv_block_tokens = model.block_size();
  totals_.kv_bytes_total = model.kv_bytes();
}

void EngineCore::add(NewRequest&& request) {
  ++arrivals_;
  const auto most_blocks = static_cast<std::size_t>(options_.max_model_len / blocks_.block_size() + 1);
  for (const auto& sequence : request.choices) {
    sequence->arrival = arrivals_;
    const auto tokens = static_cast<std::size_t>(sequence->length() + request.state->reserved_output);
    sequence->blocks.reserve(std::min(most_blocks, tokens / static_cast<std::size_t>(blocks_.block_size()) + 1) +
                             static_cast<std::size_t>(options_.spec_tokens));
    sequence->draft.reserve(static_cast<std::size_t>(options_.spec_tokens));
    sequence->draft_limit = options_.spec_tokens;
    scheduler_.add(*sequence);
  }
  const RequestId id = request.state->id;
  AWQ_CHECK(requests_.emplace(id, std::move(request)).second);
}

void EngineCore::cancel(RequestId id, std::int64_t choice) {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return;
  const auto& choices = found->second.choices;
  const auto count = static_cast<std::int64_t>(choices.size());
  for (std::int64_t i = std::max<std::int64_t>(choice, 0); i < (choice < 0 ? count : std::min(choice + 1, count));
       ++i) {
    Sequence& sequence = *choices[static_cast<std::size_t>(i)];
    if (!sequence.ended) end_without_token(sequence, FinishReason::kAbort);
  }
  drop_ended();
}

void EngineCore::cancel_all() {
  while (!requests_.empty()) cancel(requests_.begin()->first);
}

void EngineCore::set_paused(RequestId id, bool paused) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second.state->paused == paused) return;
  found->second.state->paused = paused;
  paused_requests_ += paused ? 1 : -1;
  for (const auto& sequence : found->second.choices) {
    if (sequence->ended) continue;
    if (paused) {
      scheduler_.pause(*sequence);
    } else {
      scheduler_.resume(*sequence);
    }
  }
}

void EngineCore::make_drafts() {
  if (options_.spec_tokens == 0) return;
  for (Sequence* sequence : scheduler_.running()) {
    sequence->draft.clear();
    if (sequence->length() - sequence->computed != 1 || sequence->output_count() == 0) continue;
    // The step itself gives one token; a guess beyond the last one wanted is wasted.
    const std::int64_t wanted = sequence->request->sampling.max_tokens - sequence->output_count() - 1;
    look_up(sequence->ids, {.ngram_max = options_.spec_ngram_max, .ngram_min = options_.spec_ngram_min},
            std::min(sequence->draft_limit, wanted), sequence->draft);
  }
}

bool EngineCore::step(StepReport& report) {
  report = {};
  make_drafts();
  const std::span<const ScheduledSlice> slices = scheduler_.schedule();
  if (slices.empty()) {
    AWQ_CHECK(!can_run());
    return false;
  }
  build_batch(slices, report);
  try {
    model_.run(ids_, slices_);
    take_results(slices, report);
  } catch (const Error& error) {
    for (const ScheduledSlice& slice : slices) {
      if (!slice.sequence->ended) end_without_token(*slice.sequence, FinishReason::kError, error.what());
    }
    drop_ended();
    if (error.code() == ErrorCode::kInternal || error.code() == ErrorCode::kDevice) throw;
  }
  drop_ended();
  ++totals_.steps;
  return true;
}

void EngineCore::build_batch(std::span<const ScheduledSlice> slices, StepReport& report) {
  ids_.clear();
  slices_.clear();
  first_token_.clear();
  for (const ScheduledSlice& slice : slices) {
    Sequence& sequence = *slice.sequence;
    RequestState& request = *sequence.request;
    first_token_.push_back(static_cast<std::int64_t>(ids_.size()));
    const auto from = sequence.ids.begin() + sequence.computed;
    ids_.insert(ids_.end(), from, from + slice.count);
    ids_.insert(ids_.end(), sequence.draft.begin(), sequence.draft.begin() + slice.drafts);
    slices_.push_back({.token_count = slice.count + slice.drafts,
                       .past = sequence.computed,
                       .blocks = sequence.blocks,
                       .results = sequence.wants_prompt_logprobs() ? -1
                                  : gives_tokens(slice)            ? slice.drafts + 1
                                                                   : 0});
    report.prompt_tokens += std::clamp<std::int64_t>(sequence.prompt_count() - sequence.computed, 0, slice.count);
    if (!request.started) {
      request.started = true;
      totals_.prompt_tokens += static_cast<std::uint64_t>(sequence.prompt_count());
      totals_.prompt_tokens_cached += static_cast<std::uint64_t>(sequence.cached_tokens);
      request.sink->on_started();
    }
    if (slice.drafts > 0) {
      ++totals_.spec_drafts;
      totals_.spec_draft_tokens += static_cast<std::uint64_t>(slice.drafts);
    }
  }
  report.sequences = static_cast<std::int64_t>(slices.size());
  report.tokens = static_cast<std::int64_t>(ids_.size());
}

/// Tokens of the slices that are drawn from the logits as they are, where the model can do that.
void EngineCore::pick_on_device(std::span<const ScheduledSlice> slices) {
  rows_.clear();
  rules_.clear();
  picks_of_.assign(slices.size(), -1);
  bool greedy = true;
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const ScheduledSlice& slice = slices[i];
    const Sequence& sequence = *slice.sequence;
    const SamplingParams& params = sequence.request->sampling;
    if (!gives_tokens(slice) || sequence.constraint != nullptr || params.max_tokens == 0 ||
        !draws_plainly(params, sequence.output_count())) {
      continue;
    }
    picks_of_[i] = static_cast<std::int64_t>(rows_.size());
    greedy = greedy && params.temperature == 0;
    for (std::int64_t j = 0; j <= slice.drafts; ++j) {
      rows_.push_back(first_token_[i] + slice.count - 1 + j);
      rules_.push_back(draw_rule(params, sequence.choice, sequence.output_count() + j));
    }
  }
  picks_.resize(rows_.size());
  if (rows_.empty() || (greedy ? model_.greedy(rows_, picks_) : model_.draw(rows_, rules_, picks_))) return;
  picks_of_.assign(slices.size(), -1);
}

void EngineCore::take_results(std::span<const ScheduledSlice> slices, StepReport& report) {
  const auto vocab = static_cast<std::size_t>(model_.vocab_size());
  pick_on_device(slices);
  const std::span<const std::size_t> order = turns_.begin(slices);
  // Slices whose text is complete give tokens; logits of as many of them as fit exist at a time.
  std::size_t begin = 0;
  while (begin < order.size()) {
    rows_.clear();
    std::size_t end = begin;
    for (; end < order.size(); ++end) {
      const std::size_t i = order[end];
      const ScheduledSlice& slice = slices[i];
      if (static_cast<std::int64_t>(rows_.size()) + slice.drafts + 1 > kLogitRows) break;
      if (slice.sequence->wants_prompt_logprobs()) report_prompt(slice, first_token_[i]);
      if (!gives_tokens(slice) || picks_of_[i] >= 0) continue;
      for (std::int64_t j = 0; j <= slice.drafts; ++j) rows_.push_back(first_token_[i] + slice.count - 1 + j);
    }
    std::span<float> logits = rows_.empty() ? std::span<float>() : model_.logits(rows_);
    for (; begin < end; ++begin) {
      const std::size_t i = order[begin];
      const ScheduledSlice& slice = slices[i];
      if (!gives_tokens(slice)) {
        scheduler_.advance(*slice.sequence, slice.count);
        continue;
      }
      const auto rows = static_cast<std::size_t>(slice.drafts + 1);
      if (picks_of_[i] >= 0) {
        const auto first = static_cast<std::size_t>(picks_of_[i]);
        take_tokens(slice, {}, std::span<const std::int32_t>(picks_).subspan(first, rows), report);
        continue;
      }
      if (!turns_.has_to_wait(*slice.sequence)) {
        take_tokens(slice, logits.first(rows * vocab), {}, report);
        turns_.count(*slice.sequence, totals_.steps);
      }
      logits = logits.subspan(rows * vocab);
    }
  }
}

/// Log probabilities of the prompt tokens that follow the tokens of this slice.
void EngineCore::report_prompt(const ScheduledSlice& slice, std::int64_t begin) {
  Sequence& sequence = *slice.sequence;
  const auto vocab = static_cast<std::size_t>(model_.vocab_size());
  const std::int64_t past = sequence.computed;
  const std::int64_t last = std::min(sequence.prompt_count() - 1, past + slice.count);
  while (sequence.prompt_reported <= last) {
    std::vector<std::int64_t> rows;
    const std::int64_t first = sequence.prompt_reported;
    for (std::int64_t p = first; p <= std::min(last, first + kLogitRows - 1); ++p) {
      rows.push_back(begin + p - 1 - past);
    }
    const std::span<float> logits = model_.logits(rows);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      PromptLogprob out{.position = sequence.prompt_reported};
      out.logprob =
          sampler_.logprob(logits.subspan(i * vocab, vocab), sequence.ids[static_cast<std::size_t>(out.position)],
                           *sequence.request->sampling.prompt_logprobs, out.top_logprobs);
      sequence.request->sink->on_prompt_logprob(out);
      ++sequence.prompt_reported;
    }
  }
}

FinishReason EngineCore::finish_of(const Sequence& sequence, std::int32_t id, std::int32_t& stop_id) const {
  const SamplingParams& params = sequence.request->sampling;
  if (sequence.output_count() >= params.min_tokens) {
    const auto eos = model_.eos_token_ids();
    if (!params.ignore_eos && std::find(eos.begin(), eos.end(), id) != eos.end()) return FinishReason::kStop;
    if (std::find(params.stop_token_ids.begin(), params.stop_token_ids.end(), id) != params.stop_token_ids.end()) {
      stop_id = id;
      return FinishReason::kStop;
    }
  }
  if (sequence.constraint != nullptr && sequence.constraint->finished()) return FinishReason::kStop;
  if (sequence.output_count() >= params.min_tokens && repeats(sequence.output(), params.repetition))
    return FinishReason::kRepetition;
  const bool full = sequence.output_count() >= params.max_tokens || sequence.length() >= options_.max_model_len;
  return full ? FinishReason::kLength : FinishReason::kNone;
}

/// Tokens from the logits of the slice's rows or, where those were not needed, from the likeliest ones.
void EngineCore::take_tokens(const ScheduledSlice& slice, std::span<float> logits, std::span<const std::int32_t> picks,
                             StepReport& report) {
  Sequence& sequence = *slice.sequence;
  const SamplingParams& params = sequence.request->sampling;
  const auto vocab = static_cast<std::size_t>(model_.vocab_size());
  if (params.max_tokens == 0) {
    scheduler_.advance(sequence, slice.count);
    end_without_token(sequence, FinishReason::kLength);
    return;
  }
  // Guess i was right when it is the token picked after the ones before it; the first wrong one is replaced by the
  // pick, and what was computed behind it is left to be overwritten.
  for (std::int64_t i = 0; i <= slice.drafts; ++i) {
    const auto row = static_cast<std::size_t>(i);
    const Picked picked =
        picks.empty() ? sampler_.pick(logits.subspan(row * vocab, vocab), {.params = &params,
                                                                           .ids = sequence.ids,
                                                                           .prompt_count = sequence.prompt_count(),
                                                                           .choice = sequence.choice,
                                                                           .constraint = sequence.constraint.get()})
                      : sampler_.take(picks[row]);
    if (picked.error != nullptr) {
      const std::string_view problem = sequence.constraint ? sequence.constraint->problem() : std::string_view();
      end_without_token(sequence, FinishReason::kError, problem.empty() ? picked.error : problem, !problem.empty());
      return;
    }
    if (sequence.constraint != nullptr) sequence.constraint->accept(picked.id);
    sequence.ids.push_back(picked.id);
    scheduler_.advance(sequence, i == 0 ? slice.count : 1);
    ++totals_.generation_tokens;
    ++report.new_tokens;
    TokenEvent event{.choice = sequence.choice,
                     .token_id = picked.id,
                     .logprob = picked.logprob,
                     .top_logprobs = picked.top,
                     .completion_tokens = sequence.output_count(),
                     .cached_tokens = sequence.cached_tokens};
    event.finish = finish_of(sequence, picked.id, event.stop_token_id);
    if (event.finish != FinishReason::kNone) {
      finish(sequence, event);
      return;
    }
    sequence.request->sink->on_token(event);
    if (i == slice.drafts || picked.id != sequence.draft[static_cast<std::size_t>(i)]) {
      // Guesses that keep failing cost more than they bring.
      if (slice.drafts > 0) {
        sequence.draft_limit = i == slice.drafts ? std::min(options_.spec_tokens, sequence.draft_limit * 2)
                                                 : std::max<std::int64_t>(1, std::min(sequence.draft_limit, i + 1));
      }
      return;
    }
    ++totals_.spec_accepted_tokens;
    ++totals_.spec_accepted_per_pos[row];
  }
}

void EngineCore::finish(Sequence& sequence, const TokenEvent& last) {
  RequestState& request = *sequence.request;
  scheduler_.remove(sequence);
  sequence.ended = true;
  if (request.leader == &sequence) request.leader = nullptr;
  switch (last.finish) {
    case FinishReason::kStop:
      ++totals_.finished_stop;
      break;
    case FinishReason::kLength:
      ++totals_.finished_length;
      break;
    case FinishReason::kRepetition:
      ++totals_.finished_repetition;
      break;
    case FinishReason::kAbort:
      ++totals_.finished_abort;
      break;
    default:
      ++totals_.finished_error;
      break;
  }
  request.sink->on_token(last);
  if (--request.open == 0) ended_.push_back(request.id);
}

void EngineCore::end_without_token(Sequence& sequence, FinishReason reason, std::string_view error,
                                   bool error_of_request) {
  finish(sequence, {.choice = sequence.choice,
                    .finish = reason,
                    .completion_tokens = sequence.output_count(),
                    .cached_tokens = sequence.cached_tokens,
                    .error = error,
                    .error_of_request = error_of_request});
}

void EngineCore::drop_ended() {
  for (const RequestId id : ended_) {
    const auto found = requests_.find(id);
    if (found->second.state->paused) --paused_requests_;
    requests_.erase(found);
  }
  ended_.clear();
}

EngineStats EngineCore::stats() const {
  EngineStats out = totals_;
  out.running = scheduler_.running_count();
  out.waiting = scheduler_.waiting_count();
  out.paused = scheduler_.paused_count();
  out.kv_blocks_used = blocks_.block_count() - blocks_.free_count();
  out.preemptions = scheduler_.counters().preemptions;
  out.prefix_cache_queries = scheduler_.counters().prefix_queries;
  out.prefix_cache_hits = scheduler_.counters().prefix_hits;
  return out;
}

void EngineCore::check() const {
  blocks_.check();
  if (idle()) AWQ_CHECK(blocks_.free_count() == blocks_.block_count());
}

}  // namespace awq::engine
