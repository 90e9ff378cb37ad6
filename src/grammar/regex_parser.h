#pragma once

#include <functional>
#include <string_view>

#include "grammar/grammar.h"

namespace awq::grammar {

/// How one character of a set is written in the text that is matched; a JSON string escapes some.
using ClassWriter = std::function<NodeId(Grammar&, const CharSet&)>;
NodeId write_plain(Grammar& grammar, const CharSet& set);

enum class RegexAnchors {
  kFull,    ///< the whole text is matched; ^ and $ at the ends say nothing more
  kSearch,  ///< the pattern may stand anywhere, unless ^ or $ ties it to an end: JSON schema's `pattern`
};

/// Adds a regular expression (the common core of ECMAScript, Python and RE2) to a grammar. There is no backtracking:
/// lazy quantifiers match what greedy ones do. `.` is any character but a line feed. Throws kInvalidArgument for what
/// is no expression, and for what a finite automaton of bounded size cannot do: references back, looking around,
/// word boundaries, flags.
NodeId parse_regex(Grammar& grammar, std::string_view pattern, RegexAnchors anchors, const ClassWriter& write);

}  // namespace awq::grammar
