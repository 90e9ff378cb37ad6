#pragma once

#include <optional>
#include <string>

#include "grammar/grammar.h"

namespace awq::grammar {

/// The parts that JSON texts are made of, each added to the grammar when it is first asked for. White space is bounded
/// (nothing, a blank, or a line feed and up to 20 blanks), because a model that may write blanks can do so for ever;
/// numbers have a bounded number of digits for the same reason.
class JsonRules {
 public:
  explicit JsonRules(Grammar& grammar) : grammar_(grammar) {}

  NodeId space();
  NodeId string();       ///< any, with its quotes
  NodeId string_char();  ///< one character of it, which an escape can write
  NodeId integer();
  NodeId number();
  NodeId boolean() { return grammar_.choice({grammar_.text("true"), grammar_.text("false")}); }
  NodeId null() { return grammar_.text("null"); }
  NodeId value();   ///< any value
  NodeId object();  ///< any object
  NodeId array();   ///< any array
  NodeId comma();
  NodeId colon();

  /// A rule with this body, which can then stand in many places without being laid out again.
  NodeId shared(const std::string& name, NodeId body);

  Grammar& grammar() { return grammar_; }

 private:
  void declare_values();
  NodeId once(std::optional<RuleId>& rule, const char* name, NodeId (JsonRules::*body)());
  NodeId space_body();
  NodeId string_body();
  NodeId char_body();
  NodeId integer_body();
  NodeId number_body();

  Grammar& grammar_;
  std::optional<RuleId> space_, string_, char_, integer_, number_, value_, object_, array_;
};

/// One character of the set inside a JSON string: as it is, or by its shortest escape where it needs one.
NodeId write_in_json_string(Grammar& grammar, const CharSet& set);

/// The characters that stand in a JSON string as they are.
const CharSet& unescaped_json_chars();

/// Integers from `low` to `high`, without leading zeros. Requires low <= high.
NodeId integer_range(Grammar& grammar, std::int64_t low, std::int64_t high);

struct NumberBounds {
  std::optional<std::int64_t> low, high;
  bool low_open = false, high_open = false;  ///< the bound itself is left out
};
/// Decimal numbers within bounds, written without an exponent.
NodeId number_range(Grammar& grammar, const NumberBounds& bounds);

}  // namespace awq::grammar
