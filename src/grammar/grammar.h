#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "awq/error.h"
#include "grammar/char_set.h"

namespace awq::grammar {

/// What a client may ask for. Every cap ends compilation with kInvalidArgument, naming it.
struct GrammarLimits {
  std::size_t source_bytes = 64 << 10;
  int depth = 64;                 ///< of brackets in a source, of objects in a schema
  std::int64_t repeat = 100'000;  ///< the largest count in {m,n}, minLength, maxItems ...
  std::size_t rules = 8192;
  std::size_t nodes = 400'000;   ///< expressions made
  std::size_t states = 400'000;  ///< of the automaton; four times as many edges
};

/// A grammar has more nodes or states than GrammarLimits allow. Others can ask for it with more.
class TooLarge : public Error {
 public:
  using Error::Error;
};

using NodeId = std::uint32_t;
using RuleId = std::uint32_t;
inline constexpr std::int64_t kUnbounded = -1;

enum class NodeKind : std::uint8_t {
  kEmpty,     ///< matches the empty text
  kNothing,   ///< matches no text
  kText,      ///< the bytes `text`
  kClass,     ///< one character of `set`
  kSequence,  ///< `parts`, one after the other
  kChoice,    ///< one of `parts`
  kRepeat,    ///< parts[0], at least `min` and at most `max` times (kUnbounded: no end)
  kRule,      ///< what the rule `rule` matches
};

struct Node {
  NodeKind kind = NodeKind::kEmpty;
  std::string text{};
  CharSet set{};
  std::vector<NodeId> parts{};
  std::int64_t min = 0;
  std::int64_t max = 0;
  RuleId rule = 0;
};

/// A context-free grammar over characters, built bottom up. Nodes may be shared. The start is rule 0 unless said.
class Grammar {
 public:
  explicit Grammar(const GrammarLimits& limits = {}) : limits_(limits) {}

  NodeId empty() { return add({}); }
  NodeId nothing() { return add({.kind = NodeKind::kNothing}); }
  NodeId text(std::string bytes) { return add({.kind = NodeKind::kText, .text = std::move(bytes)}); }
  NodeId char_class(CharSet set) { return add({.kind = NodeKind::kClass, .set = std::move(set)}); }
  NodeId sequence(std::vector<NodeId> parts);
  NodeId choice(std::vector<NodeId> parts);
  NodeId optional(NodeId part) { return repeat(part, 0, 1); }
  NodeId repeat(NodeId part, std::int64_t min, std::int64_t max);
  NodeId rule(RuleId id) { return add({.kind = NodeKind::kRule, .rule = id}); }

  /// A rule whose body comes later, so that rules can refer to themselves.
  RuleId declare(std::string name);
  void define(RuleId id, NodeId body) { rules_[id].body = static_cast<std::int64_t>(body); }

  RuleId start() const { return start_; }
  void set_start(RuleId rule) { start_ = rule; }

  struct Rule {
    std::string name;
    std::int64_t body = -1;
  };
  const std::vector<Rule>& rules() const { return rules_; }
  const Node& node(NodeId id) const { return nodes_[id]; }
  const GrammarLimits& limits() const { return limits_; }

 private:
  NodeId add(Node node);

  GrammarLimits limits_;
  std::vector<Node> nodes_;
  std::vector<Rule> rules_;
  RuleId start_ = 0;
};

/// Throws the error of a grammar that a client sent: kInvalidArgument.
[[noreturn]] void grammar_error(const std::string& message);
/// Throws TooLarge: more than `limit` things of a kind.
[[noreturn]] void too_large(std::size_t limit, const char* things);

}  // namespace awq::grammar
