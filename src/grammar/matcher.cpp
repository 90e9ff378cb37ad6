#include "grammar/matcher.h"

#include <algorithm>
#include <unordered_set>

#include "base/check.h"

namespace awq::grammar {
namespace {

constexpr std::uint32_t kMaxStack = 256;        // calls within each other: a text cannot nest deeper
constexpr std::size_t kMaxConfigs = 4096;       // places at once: an ambiguous grammar can multiply them
constexpr std::uint64_t kMaxWork = 20'000'000;  // places looked at for one token
constexpr std::size_t kSetOverhead = 256;

std::uint64_t pair_key(std::uint32_t a, std::uint32_t b) { return static_cast<std::uint64_t>(a) << 32 | b; }

void set_bit(std::span<std::uint32_t> bits, std::int32_t id) {
  const auto i = static_cast<std::size_t>(id);
  bits[i / 32] |= std::uint32_t{1} << (i % 32);
}

}  // namespace

CompiledGrammar::CompiledGrammar(const Grammar& grammar, std::shared_ptr<const Vocabulary> vocabulary,
                                 std::size_t cache_bytes)
    : automaton_(grammar), vocabulary_(std::move(vocabulary)), cache_bytes_(cache_bytes) {
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
  if (used_bytes_ < cache_bytes_) return;
  reset();
  ++epoch_;
}

CompiledGrammar::SetId CompiledGrammar::start() { return intern({{automaton_.start(), 0}}); }

CompiledGrammar::FrameId CompiledGrammar::push(StateId return_to, FrameId parent) {
  const auto [known, fresh] = frame_ids_.try_emplace(pair_key(return_to, parent), 0);
  if (fresh) {
    known->second = static_cast<FrameId>(frames_.size());
    frames_.push_back({return_to, parent, frames_[parent].depth + 1});
    used_bytes_ += sizeof(Frame) + 48;
  }
  return known->second;
}

/// Follows all edges that read nothing, and finds the set that comes out.
CompiledGrammar::SetId CompiledGrammar::intern(std::vector<Config> from) {
  Set set;
  std::unordered_set<std::uint64_t> seen;
  std::vector<Config> work = std::move(from);
  for (const Config& config : work) seen.insert(pair_key(config.state, config.frame));
  const auto add = [&](StateId state, FrameId frame) {
    if (!seen.insert(pair_key(state, frame)).second) return;
    if (seen.size() > kMaxConfigs) {
      fail(ErrorCode::kInvalidArgument, "the grammar is too ambiguous: more than {} readings of one text", kMaxConfigs);
    }
    work.push_back({state, frame});
  };
  while (!work.empty()) {
    const Config config = work.back();
    work.pop_back();
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
  // One step looks at the tokens of a whole vocabulary; a hostile grammar could make each of them expensive.
  work_ += seen.size();
  if (work_ > kMaxWork || used_bytes_ > 4 * cache_bytes_) {
    fail(ErrorCode::kInvalidArgument, "the grammar is too expensive for one step");
  }
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
  if (sets_[id].next == nullptr) {
    sets_[id].next = std::make_unique<std::array<SetId, 256>>();
    sets_[id].next->fill(kUnknown);
    used_bytes_ += sizeof(*sets_[id].next);
  }
  if (const SetId known = (*sets_[id].next)[byte]; known != kUnknown) return known;
  std::vector<Config> to;
  for (const Config& config : sets_[id].configs) {
    for (const Automaton::Edge* edge = automaton_.begin(config.state); edge != automaton_.end(config.state); ++edge) {
      const bool reads = edge->kind == Automaton::EdgeKind::kByte && byte >= edge->first && byte <= edge->last;
      if (reads) to.push_back({edge->to, config.frame});
    }
  }
  std::sort(to.begin(), to.end());
  to.erase(std::unique(to.begin(), to.end()), to.end());
  const SetId out = intern(std::move(to));
  (*sets_[id].next)[byte] = out;
  return out;
}

const std::vector<std::uint32_t>& CompiledGrammar::mask(SetId id) {
  if (!sets_[id].mask.empty()) return sets_[id].mask;
  std::vector<std::uint32_t> bits(vocabulary_->mask_words(), 0);
  const auto& trie = vocabulary_->trie();
  const auto& ids = vocabulary_->token_ids();
  std::vector<SetId> path(vocabulary_->max_depth() + 1, kDead);
  path[0] = id;
  work_ = 0;
  for (std::size_t at = 0; at < trie.size();) {
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
  if (sets_[id].accepting) {
    for (const std::int32_t eos : vocabulary_->eos_ids()) set_bit(bits, eos);
  }
  used_bytes_ += bits.size() * sizeof(bits[0]);
  sets_[id].mask = std::move(bits);
  return sets_[id].mask;
}

/// The set the text stands at. Needs the lock.
CompiledGrammar::SetId Matcher::current() {
  if (epoch_ == grammar_->epoch_) return set_;
  grammar_->work_ = 0;
  set_ = grammar_->start();
  for (const char byte : text_) set_ = grammar_->next(set_, static_cast<unsigned char>(byte));
  epoch_ = grammar_->epoch_;
  return set_;
}

void Matcher::allowed(std::span<std::uint32_t> mask_bits) {
  const std::scoped_lock lock(grammar_->lock_);
  grammar_->flush_if_full();
  std::fill(mask_bits.begin(), mask_bits.end(), 0);
  if (ended_) {
    for (const std::int32_t eos : grammar_->vocabulary_->eos_ids()) set_bit(mask_bits, eos);
    return;
  }
  const std::vector<std::uint32_t>& bits = grammar_->mask(current());
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
  CompiledGrammar::SetId to = current();
  grammar_->work_ = 0;
  for (const char byte : bytes) to = grammar_->next(to, static_cast<unsigned char>(byte));
  if (to == CompiledGrammar::kDead) return false;
  set_ = to;
  text_ += bytes;
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
