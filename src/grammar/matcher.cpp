#include "grammar/matcher.h"

#include <algorithm>

#include "base/check.h"

namespace awq::grammar {
namespace {

constexpr std::uint32_t kMaxStack = 256;                    // calls within each other: a text cannot nest deeper
constexpr std::size_t kMaxConfigs = MetNumbers::kCapacity;  // places at once: an ambiguous grammar can multiply them
constexpr std::uint64_t kTokensToRecover = 16;              // from a token that took all the steps there are
constexpr std::size_t kNodesPerStep = 8;  // a node of the vocabulary whose transition is known is a short look
constexpr std::size_t kSetOverhead = 256;

std::uint64_t pair_key(std::uint32_t a, std::uint32_t b) { return static_cast<std::uint64_t>(a) << 32 | b; }

void set_bit(std::span<std::uint32_t> bits, std::int32_t id) {
  const auto i = static_cast<std::size_t>(id);
  bits[i / 32] |= std::uint32_t{1} << (i % 32);
}

}  // namespace

bool MetNumbers::insert(std::uint64_t number) {
  constexpr std::uint64_t kSpread = 0x9E3779B97F4A7C15ULL;
  std::size_t at = (number * kSpread >> 32) % slots_.size();
  for (; slots_[at].round == round_; at = (at + 1) % slots_.size()) {
    if (slots_[at].number == number) return false;
  }
  slots_[at] = {number, round_};
  ++size_;
  return true;
}

CompiledGrammar::CompiledGrammar(const Grammar& grammar, std::shared_ptr<const Vocabulary> vocabulary,
                                 const MatchLimits& limits)
    : automaton_(grammar), vocabulary_(std::move(vocabulary)), limits_(limits) {
  reset();
}

void CompiledGrammar::reset() {
  sets_.clear();
  frames_.assign(1, {});
  frame_ids_.clear();
  set_ids_.clear();
  used_bytes_ = 0;
  sets_.emplace_back();  // kDead
  set_ids_[0].push_back(kDead);
}

void CompiledGrammar::flush_if_full() {
  if (used_bytes_ < limits_.cache_bytes) return;
  reset();
  ++epoch_;
}

CompiledGrammar::SetId CompiledGrammar::start() {
  open_.assign(1, {automaton_.start(), 0});
  return intern();
}

/// One step looks at the tokens of a whole vocabulary; a hostile grammar could make each of them expensive.
void CompiledGrammar::work(std::size_t amount) {
  work_done_ += amount;
  if (amount <= work_left_ && used_bytes_ <= 4 * limits_.cache_bytes) {
    work_left_ -= amount;
    return;
  }
  throw TooExpensive(
      ErrorCode::kInvalidArgument,
      fmt::format("the grammar is too expensive: a token takes more than {} steps, or each of many a sixteenth of "
                  "them, or {} MiB",
                  limits_.work, 4 * limits_.cache_bytes >> 20));
}

CompiledGrammar::FrameId CompiledGrammar::push(StateId return_to, FrameId parent) {
  const auto [known, fresh] = frame_ids_.try_emplace(pair_key(return_to, parent), 0);
  if (fresh) {
    known->second = static_cast<FrameId>(frames_.size());
    frames_.push_back({return_to, parent, frames_[parent].depth + 1});
    used_bytes_ += sizeof(Frame) + 48;
  }
  return known->second;
}

/// Follows all edges from open_ that read nothing, and finds the set that comes out.
CompiledGrammar::SetId CompiledGrammar::intern() {
  Set set;
  met_.clear();
  const auto meet = [&](const Config& config) {
    if (met_.size() == kMaxConfigs) {
      throw TooExpensive(
          ErrorCode::kInvalidArgument,
          fmt::format("the grammar is too ambiguous: one text can be read in {} ways or more", kMaxConfigs));
    }
    return met_.insert(pair_key(config.state, config.frame));
  };
  std::erase_if(open_, [&](const Config& config) { return !meet(config); });
  const auto add = [&](StateId state, FrameId frame) {
    if (meet({state, frame})) open_.push_back({state, frame});
  };
  while (!open_.empty()) {
    const Config config = open_.back();
    open_.pop_back();
    work(1 + static_cast<std::size_t>(automaton_.end(config.state) - automaton_.begin(config.state)));
    bool reads = false;
    for (const Automaton::Edge* edge = automaton_.begin(config.state); edge != automaton_.end(config.state); ++edge) {
      if (edge->kind == Automaton::EdgeKind::kByte) {
        reads = true;
      } else if (edge->kind == Automaton::EdgeKind::kEmpty) {
        add(edge->to, config.frame);
      } else if (automaton_.only_returns(edge->to)) {
        // The last call of a rule returns to its caller's caller: a list does not deepen the stack.
        add(automaton_.start(edge->rule), config.frame);
      } else if (frames_[config.frame].depth < kMaxStack) {
        add(automaton_.start(edge->rule), push(edge->to, config.frame));
      }
    }
    if (reads) set.configs.push_back(config);
    if (automaton_.is_end(config.state)) {
      if (config.frame == 0) {
        set.accepting = true;
      } else {
        add(frames_[config.frame].return_to, frames_[config.frame].parent);
      }
    }
  }
  work(set.configs.size());
  std::sort(set.configs.begin(), set.configs.end());
  std::uint64_t hash = set.accepting ? 1 : 0;
  for (const Config& config : set.configs) {
    hash = (hash ^ pair_key(config.state, config.frame)) * 0x9E3779B97F4A7C15ULL;
    hash ^= hash >> 29;
  }
  std::vector<SetId>& same = set_ids_[hash];
  for (const SetId id : same) {
    if (sets_[id].accepting == set.accepting && sets_[id].configs == set.configs) return id;
  }
  const auto id = static_cast<SetId>(sets_.size());
  same.push_back(id);
  used_bytes_ += kSetOverhead + set.configs.size() * sizeof(Config);
  sets_.push_back(std::move(set));
  return id;
}

CompiledGrammar::SetId CompiledGrammar::next(SetId id, unsigned char byte) {
  const std::size_t byte_class = automaton_.byte_class(byte);
  if (sets_[id].next.empty()) {
    sets_[id].next.assign(automaton_.class_count(), kUnknown);
    used_bytes_ += sets_[id].next.size() * sizeof(SetId);
  }
  if (const SetId known = sets_[id].next[byte_class]; known != kUnknown) return known;
  open_.clear();
  for (const Config& config : sets_[id].configs) {
    const Automaton::Edge *edge = automaton_.begin(config.state), *end = automaton_.end(config.state);
    work(static_cast<std::size_t>(end - edge));
    for (; edge != end; ++edge) {
      const bool reads = edge->kind == Automaton::EdgeKind::kByte && byte >= edge->first && byte <= edge->last;
      if (reads) open_.push_back({edge->to, config.frame});
    }
  }
  const SetId out = intern();
  sets_[id].next[byte_class] = out;
  return out;
}

const std::vector<std::uint32_t>& CompiledGrammar::mask(SetId id) {
  if (!sets_[id].mask.empty()) return sets_[id].mask;
  std::vector<std::uint32_t> bits(vocabulary_->mask_words(), 0);
  const auto& trie = vocabulary_->trie();
  const auto& ids = vocabulary_->token_ids();
  std::vector<SetId> path(vocabulary_->max_depth() + 1, kDead);
  path[0] = id;
  std::size_t visited = 0;
  for (std::size_t at = 0; at < trie.size(); ++visited) {
    const Vocabulary::TrieNode& node = trie[at];
    const SetId to = next(path[node.depth - 1], node.byte);
    if (to == kDead) {
      at = node.skip;
      continue;
    }
    path[node.depth] = to;
    for (std::uint32_t i = node.first_token; i < node.end_token; ++i) set_bit(bits, ids[i]);
    ++at;
  }
  work(visited / kNodesPerStep);
  if (sets_[id].accepting) {
    for (const std::int32_t eos : vocabulary_->eos_ids()) set_bit(bits, eos);
  }
  used_bytes_ += bits.size() * sizeof(bits[0]);
  sets_[id].mask = std::move(bits);
  return sets_[id].mask;
}

/// Counts the work of the grammar as that of this text, also when it ends with an exception. Needs the lock.
class Matcher::Meter {
 public:
  explicit Meter(Matcher& matcher) : matcher_(matcher), before_(matcher.grammar_->work_done_) {}
  ~Meter() { matcher_.work_ += matcher_.grammar_->work_done_ - before_; }
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

 private:
  Matcher& matcher_;
  std::uint64_t before_;
};

/// The set the text stands at. Needs the lock.
CompiledGrammar::SetId Matcher::current() {
  if (epoch_ == grammar_->epoch_) return set_;
  grammar_->work_left_ = grammar_->limits_.work;
  set_ = grammar_->start();
  for (const char byte : text_) set_ = grammar_->next(set_, static_cast<unsigned char>(byte));
  epoch_ = grammar_->epoch_;
  return set_;
}

void Matcher::allowed(std::span<std::uint32_t> mask_bits) {
  const std::scoped_lock lock(grammar_->lock_);
  const Meter meter(*this);
  grammar_->flush_if_full();
  std::fill(mask_bits.begin(), mask_bits.end(), 0);
  if (ended_) {
    for (const std::int32_t eos : grammar_->vocabulary_->eos_ids()) set_bit(mask_bits, eos);
    return;
  }
  const CompiledGrammar::SetId here = current();
  grammar_->work_left_ = allowance_;
  const std::vector<std::uint32_t>& bits = grammar_->mask(here);
  allowance_ = grammar_->work_left_;
  std::copy_n(bits.begin(), std::min(bits.size(), mask_bits.size()), mask_bits.begin());
}

bool Matcher::accept(std::int32_t id) {
  const Vocabulary& vocabulary = *grammar_->vocabulary_;
  if (id < 0 || static_cast<std::size_t>(id) >= vocabulary.size() || ended_) return false;
  if (vocabulary.is_eos(id)) {
    if (!can_end()) return false;
    ended_ = true;
    return true;
  }
  return !vocabulary.bytes(id).empty() && accept_bytes(vocabulary.bytes(id));
}

bool Matcher::accept_bytes(std::string_view bytes) {
  const std::scoped_lock lock(grammar_->lock_);
  const Meter meter(*this);
  CompiledGrammar::SetId to = current();
  grammar_->work_left_ = grammar_->limits_.work;
  for (const char byte : bytes) to = grammar_->next(to, static_cast<unsigned char>(byte));
  if (to == CompiledGrammar::kDead) return false;
  set_ = to;
  text_ += bytes;
  allowance_ = std::min(grammar_->limits_.work, allowance_ + grammar_->limits_.work / kTokensToRecover);
  return true;
}

bool Matcher::can_end() {
  const std::scoped_lock lock(grammar_->lock_);
  return grammar_->sets_[current()].accepting;
}

bool Matcher::finished() {
  if (ended_) return true;
  const std::scoped_lock lock(grammar_->lock_);
  const CompiledGrammar::Set& set = grammar_->sets_[current()];
  return set.accepting && set.configs.empty();
}

}  // namespace awq::grammar
