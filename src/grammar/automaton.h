#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "grammar/grammar.h"

namespace awq::grammar {

using StateId = std::uint32_t;

/// A grammar as a pushdown automaton over bytes: one finite automaton per rule, whose edges read a byte, read nothing,
/// or call a rule. Immutable.
class Automaton {
 public:
  enum class EdgeKind : std::uint8_t { kByte, kEmpty, kCall };
  struct Edge {
    EdgeKind kind = EdgeKind::kEmpty;
    unsigned char first = 0;  ///< kByte: the range
    unsigned char last = 0;
    StateId to = 0;   ///< kCall: where the caller goes on
    RuleId rule = 0;  ///< kCall
  };

  /// Throws kInvalidArgument for a grammar that no matcher of bounded cost exists for (left recursion), one without a
  /// finite text, a rule that is not defined, and one that is too large.
  explicit Automaton(const Grammar& grammar);

  StateId start() const { return rules_[start_rule_].start; }
  StateId start(RuleId rule) const { return rules_[rule].start; }
  bool is_end(StateId state) const { return states_[state].is_end; }
  /// A call that returns here gives its caller nothing to do but return as well.
  bool only_returns(StateId state) const { return states_[state].is_end && begin(state) == end(state); }
  const Edge* begin(StateId state) const { return edges_.data() + states_[state].begin; }
  const Edge* end(StateId state) const { return edges_.data() + states_[state].end; }
  std::size_t state_count() const { return states_.size(); }
  /// Bytes that no edge tells apart are of one class, 0 .. class_count() - 1.
  std::size_t byte_class(unsigned char byte) const { return byte_classes_[byte]; }
  std::size_t class_count() const { return byte_classes_.back() + std::size_t{1}; }

 private:
  struct State {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
    bool is_end = false;
  };
  struct RuleStates {
    StateId start = 0;
  };
  class Builder;

  std::vector<State> states_;
  std::vector<Edge> edges_;
  std::vector<RuleStates> rules_;
  std::array<std::uint8_t, 256> byte_classes_{};  ///< rising
  RuleId start_rule_ = 0;
};

}  // namespace awq::grammar
