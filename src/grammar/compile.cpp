#include "grammar/compile.h"

#include "base/check.h"
#include "grammar/ebnf_parser.h"
#include "grammar/json_rules.h"
#include "grammar/json_schema.h"
#include "grammar/regex_parser.h"

namespace awq::grammar {

Grammar regex_grammar(std::string_view pattern, const GrammarLimits& limits) {
  Grammar out(limits);
  const RuleId root = out.declare("root");
  out.define(root, parse_regex(out, pattern, RegexAnchors::kFull, write_plain));
  return out;
}

Grammar choice_grammar(const std::vector<std::string>& choices, const GrammarLimits& limits) {
  if (choices.empty()) grammar_error("choice: expected at least one text");
  Grammar out(limits);
  const RuleId root = out.declare("root");
  std::size_t bytes = 0;
  std::vector<NodeId> parts;
  for (const std::string& choice : choices) {
    bytes += choice.size();
    if (bytes > limits.source_bytes) {
      grammar_error(fmt::format("choice: more than {} bytes", limits.source_bytes));
    }
    parts.push_back(out.text(choice));
  }
  out.define(root, out.choice(std::move(parts)));
  return out;
}

Grammar schema_grammar(std::string_view schema, const GrammarLimits& limits) {
  if (schema.size() > limits.source_bytes) {
    grammar_error(fmt::format("schema of {} bytes: expected at most {}", schema.size(), limits.source_bytes));
  }
  try {
    return parsed_schema_grammar(file::parse_json<file::OrderedJson>(
                                     schema, "schema", {.max_depth = limits.depth, .max_bytes = limits.source_bytes}),
                                 limits);
  } catch (const Error& error) {
    // For a file this is a corrupt one; here it is a request that can be corrected.
    if (error.code() == ErrorCode::kCorruptFile) grammar_error(error.message());
    throw;
  }
}

Grammar parsed_schema_grammar(const file::OrderedJson& schema, const GrammarLimits& limits) {
  Grammar out(limits);
  const RuleId root = out.declare("root");
  out.define(root, add_json_schema(out, schema));
  return out;
}

Grammar json_object_grammar(const GrammarLimits& limits) {
  Grammar out(limits);
  const RuleId root = out.declare("root");
  out.define(root, JsonRules(out).object());
  return out;
}

Grammar ebnf_grammar(std::string_view source, const GrammarLimits& limits) { return parse_ebnf(source, limits); }

}  // namespace awq::grammar
