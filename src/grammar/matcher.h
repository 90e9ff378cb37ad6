#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "awq/error.h"
#include "grammar/automaton.h"
#include "grammar/vocabulary.h"

namespace awq::grammar {

/// What following texts through a grammar may take.
struct MatchLimits {
  std::size_t cache_bytes = 32U << 20;  ///< of what is kept; one step may make four times as much
  /// Steps (edges and places looked at) for one token. A text that has spent them gets a sixteenth back with each
  /// token: a grammar that is expensive all the time does not hold up every step of everybody else.
  std::uint64_t work = 2'000'000;
};

/// A grammar turned out to need more than its MatchLimits allow, or to be too ambiguous.
class TooExpensive : public Error {
 public:
  using Error::Error;
};

/// Numbers that were met, forgotten all at once. At most kCapacity.
class MetNumbers {
 public:
  static constexpr std::size_t kCapacity = 4096;
  MetNumbers() : slots_(2 * kCapacity) {}
  void clear() {
    ++round_;
    size_ = 0;
  }
  std::size_t size() const { return size_; }
  /// False when it was met before.
  bool insert(std::uint64_t number);

 private:
  struct Slot {
    std::uint64_t number = 0;
    std::uint64_t round = 0;
  };
  std::vector<Slot> slots_;
  std::uint64_t round_ = 1;
  std::size_t size_ = 0;
};

/// A grammar and a vocabulary, ready to constrain any number of texts. The sets of automaton states that texts lead to
/// are found once, as are the tokens that each set allows; what was found is shared and bounded.
/// Safe to use from many threads.
class CompiledGrammar {
 public:
  CompiledGrammar(const Grammar& grammar, std::shared_ptr<const Vocabulary> vocabulary, const MatchLimits& limits = {});

  const Vocabulary& vocabulary() const { return *vocabulary_; }

 private:
  friend class Matcher;

  using SetId = std::uint32_t;
  using FrameId = std::uint32_t;
  static constexpr SetId kDead = 0;
  static constexpr SetId kUnknown = ~SetId{0};

  /// A call that has not returned. Frame 0 is the bottom.
  struct Frame {
    StateId return_to = 0;
    FrameId parent = 0;
    std::uint32_t depth = 0;
  };
  struct Config {
    StateId state = 0;
    FrameId frame = 0;
    bool operator==(const Config&) const = default;
    auto operator<=>(const Config&) const = default;
  };
  /// All the places in the grammar where a text can stand at once.
  struct Set {
    std::vector<Config> configs;  ///< sorted; only those that can read a byte
    bool accepting = false;
    std::vector<SetId> next;          ///< by class of byte; empty: none found yet
    std::vector<std::uint32_t> mask;  ///< empty: not found yet
  };

  // All of these need the lock.
  void reset();
  SetId start();
  SetId next(SetId set, unsigned char byte);
  FrameId push(StateId return_to, FrameId parent);
  SetId intern();
  void work(std::size_t amount);
  const std::vector<std::uint32_t>& mask(SetId set);
  void flush_if_full();

  Automaton automaton_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  MatchLimits limits_;
  std::mutex lock_;
  std::uint64_t epoch_ = 1;  ///< grows when the cache is emptied: all ids change
  std::size_t used_bytes_ = 0;
  std::uint64_t work_left_ = 0;  ///< of the current step
  std::uint64_t work_done_ = 0;  ///< of all
  std::vector<Config> open_;     ///< of intern(): where the text stands, to be followed
  MetNumbers met_;               ///< the same
  std::vector<Set> sets_;
  std::vector<Frame> frames_;
  std::unordered_map<std::uint64_t, FrameId> frame_ids_;
  std::unordered_map<std::uint64_t, std::vector<SetId>> set_ids_;
};

/// One text under a grammar. Copying gives a second text that begins the same way. Not for several threads at once.
class Matcher {
 public:
  explicit Matcher(std::shared_ptr<CompiledGrammar> grammar)
      : grammar_(std::move(grammar)), allowance_(grammar_->limits_.work) {}

  /// Fills `mask_bits` [vocabulary().mask_words() or more]: bit i of word i / 32 for each token that may come next.
  /// End-of-sequence ids are among them where the text may end. Throws TooExpensive.
  void allowed(std::span<std::uint32_t> mask_bits);
  /// Takes a token. False, and nothing changes, when it is not allowed.
  bool accept(std::int32_t id);
  /// Takes bytes; false, and nothing changes, when they do not fit.
  bool accept_bytes(std::string_view bytes);
  /// Steps that all calls so far have taken (MatchLimits::work).
  std::uint64_t work() const { return work_; }
  /// True when the text so far is complete.
  bool can_end();
  /// True when nothing can follow: an end-of-sequence token was taken, or the text is complete and cannot grow.
  bool finished();

 private:
  class Meter;
  CompiledGrammar::SetId current();

  std::shared_ptr<CompiledGrammar> grammar_;
  std::string text_;  ///< so that the place is found again when the cache was emptied
  std::uint64_t epoch_ = 0;
  std::uint64_t allowance_;  ///< steps that the next token may take
  std::uint64_t work_ = 0;
  CompiledGrammar::SetId set_ = CompiledGrammar::kUnknown;
  bool ended_ = false;
};

}  // namespace awq::grammar
