#pragma once

#include <string_view>

#include "grammar/grammar.h"

namespace awq::grammar {

/// Reads a grammar in GBNF, the notation of llama.cpp that other servers take as well:
///   root ::= "yes" | "no" [a-z]+ ("," item){0,3}   # comment
/// The start rule is `root`. Literals and classes know \n \r \t \\ \" \' \[ \] \- \xHH \uHHHH \UHHHHHHHH; `.` is any
/// character. Throws kInvalidArgument with the line of what is wrong.
Grammar parse_ebnf(std::string_view source, const GrammarLimits& limits = {});

}  // namespace awq::grammar
