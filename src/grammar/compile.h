#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "file/json.h"
#include "grammar/grammar.h"
#include "grammar/matcher.h"

namespace awq::grammar {

// From what a request asks for to a grammar. All throw kInvalidArgument for what is malformed, unsupported or too
// large; CompiledGrammar makes a grammar ready to run.

/// The whole text matches.
Grammar regex_grammar(std::string_view pattern, const GrammarLimits& limits = {});
/// The text is one of these.
Grammar choice_grammar(const std::vector<std::string>& choices, const GrammarLimits& limits = {});
/// `schema` is the text of a JSON schema.
Grammar schema_grammar(std::string_view schema, const GrammarLimits& limits = {});
Grammar parsed_schema_grammar(const file::OrderedJson& schema, const GrammarLimits& limits = {});
/// Any JSON object.
Grammar json_object_grammar(const GrammarLimits& limits = {});
/// GBNF; see ebnf_parser.h.
Grammar ebnf_grammar(std::string_view source, const GrammarLimits& limits = {});

}  // namespace awq::grammar
