#include "grammar/grammar.h"

#include "base/check.h"

namespace awq::grammar {

void grammar_error(const std::string& message) { throw Error(ErrorCode::kInvalidArgument, message); }
void too_large(std::size_t limit, const char* things) {
  throw TooLarge(ErrorCode::kInvalidArgument, fmt::format("the grammar is too large: more than {} {}", limit, things));
}

NodeId Grammar::add(Node node) {
  if (nodes_.size() >= limits_.nodes) {
    too_large(limits_.nodes, "expressions");
  }
  nodes_.push_back(std::move(node));
  return static_cast<NodeId>(nodes_.size() - 1);
}

NodeId Grammar::sequence(std::vector<NodeId> parts) {
  if (parts.size() == 1) return parts[0];
  return add({.kind = NodeKind::kSequence, .parts = std::move(parts)});
}

NodeId Grammar::choice(std::vector<NodeId> parts) {
  if (parts.size() == 1) return parts[0];
  return add({.kind = parts.empty() ? NodeKind::kNothing : NodeKind::kChoice, .parts = std::move(parts)});
}

NodeId Grammar::repeat(NodeId part, std::int64_t min, std::int64_t max) {
  if (min > limits_.repeat || max > limits_.repeat) {
    grammar_error(fmt::format("a repeat of {}: expected at most {}", std::max(min, max), limits_.repeat));
  }
  if (max != kUnbounded && min > max) return nothing();
  return add({.kind = NodeKind::kRepeat, .parts = {part}, .min = min, .max = max});
}

RuleId Grammar::declare(std::string name) {
  if (rules_.size() >= limits_.rules) {
    grammar_error(fmt::format("the grammar is too large: more than {} rules", limits_.rules));
  }
  rules_.push_back({.name = std::move(name)});
  return static_cast<RuleId>(rules_.size() - 1);
}

}  // namespace awq::grammar
