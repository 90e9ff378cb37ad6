#include "server/openai/constraint_fields.h"

#include <fmt/format.h>

namespace awq::server {
namespace {

using Kind = ConstraintSpec::Kind;

ConstraintSpec schema_spec(const Fields& fields, const char* name, const OrderedJson& value,
                           const ServeLimits& limits) {
  ConstraintSpec spec{.kind = Kind::kJsonSchema, .schema = value, .field = fields.name_of(name)};
  // Some clients send the schema as text.
  if (value.is_string()) {
    try {
      spec.schema = parse_body(value.get<std::string>(), limits);
    } catch (const ApiError& error) {
      fields.refuse(name, std::string("a JSON schema as text: ") + error.what());
    }
  }
  if (!spec.schema.is_object() && !spec.schema.is_boolean()) fields.wrong_type(name, "a JSON schema");
  const std::string text = file::to_line(spec.schema);
  check_limit(limits, &ServeLimits::max_schema_bytes, static_cast<std::int64_t>(text.size()), fields.name_of(name));
  return spec;
}

ConstraintSpec grammar_spec(const Fields& fields, const char* name, const std::string& grammar,
                            const ServeLimits& limits) {
  check_limit(limits, &ServeLimits::max_grammar_bytes, static_cast<std::int64_t>(grammar.size()), fields.name_of(name));
  return {.kind = Kind::kGrammar, .pattern = grammar, .field = fields.name_of(name)};
}

/// `names`: json, regex, choice, grammar, json_object in this order.
struct Names {
  const char *json, *regex, *choice, *grammar, *json_object;
};

void read_kinds(const Fields& fields, const Names& names, const ServeLimits& limits, std::vector<ConstraintSpec>& out) {
  if (const OrderedJson* json = fields.find(names.json)) out.push_back(schema_spec(fields, names.json, *json, limits));
  if (const auto regex = fields.text(names.regex)) {
    check_limit(limits, &ServeLimits::max_pattern_bytes, static_cast<std::int64_t>(regex->size()),
                fields.name_of(names.regex));
    out.push_back({.kind = Kind::kRegex, .pattern = *regex, .field = fields.name_of(names.regex)});
  }
  if (fields.array(names.choice) != nullptr) {
    ConstraintSpec spec{
        .kind = Kind::kChoice, .choices = fields.texts(names.choice), .field = fields.name_of(names.choice)};
    if (spec.choices.empty()) fields.refuse(names.choice, "expected at least one choice");
    check_limit(limits, &ServeLimits::max_choices, static_cast<std::int64_t>(spec.choices.size()),
                fields.name_of(names.choice));
    out.push_back(std::move(spec));
  }
  if (const auto grammar = fields.text(names.grammar)) {
    out.push_back(grammar_spec(fields, names.grammar, *grammar, limits));
  }
  if (fields.boolean(names.json_object).value_or(false))
    out.push_back({.kind = Kind::kJsonObject, .field = fields.name_of(names.json_object)});
}

void read_response_format(const Fields& fields, const ServeLimits& limits, std::vector<ConstraintSpec>& out) {
  const OrderedJson* format = fields.object("response_format");
  if (format == nullptr) return;
  const Fields inner(*format, "response_format");
  const std::string type = inner.text("type").value_or("");
  if (type == "text") return;
  // The schema beside the type is llama-server's way to write it.
  const OrderedJson* beside = inner.find("schema");
  if (beside != nullptr && (type == "json_object" || (type == "json_schema" && !inner.has("json_schema")))) {
    out.push_back(schema_spec(inner, "schema", *beside, limits));
  } else if (type == "json_object") {
    out.push_back({.kind = Kind::kJsonObject, .field = "response_format"});
  } else if (type == "json_schema") {
    const OrderedJson* holder = inner.object("json_schema");
    if (holder == nullptr) inner.refuse("json_schema", "expected an object with the schema");
    const Fields described(*holder, "response_format.json_schema");
    const OrderedJson* schema = described.find("schema");
    if (schema == nullptr) described.refuse("schema", "expected a JSON schema");
    out.push_back(schema_spec(described, "schema", *schema, limits));
  } else if (type == "structural_tag") {
    inner.refuse("type", "structural_tag is not supported by this server");
  } else {
    inner.refuse("type", "expected text, json_object or json_schema");
  }
}

}  // namespace

ConstraintSpec read_constraint(const Fields& fields, const ServeLimits& limits) {
  std::vector<ConstraintSpec> found;
  read_response_format(fields, limits, found);
  if (const OrderedJson* structured = fields.object("structured_outputs")) {
    const Fields inner(*structured, "structured_outputs");
    if (inner.has("structural_tag")) inner.refuse("structural_tag", "not supported by this server");
    const std::size_t before = found.size();
    read_kinds(inner, {"json", "regex", "choice", "grammar", "json_object"}, limits, found);
    if (found.size() != before + 1)
      fields.refuse("structured_outputs", "expected exactly one of json, regex, choice, grammar and json_object");
  }
  read_kinds(fields, {"guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_json_object"}, limits,
             found);
  // llama-server's names; an empty grammar is none there.
  if (const OrderedJson* schema = fields.find("json_schema"))
    found.push_back(schema_spec(fields, "json_schema", *schema, limits));
  if (const auto grammar = fields.text("grammar"); grammar && !grammar->empty())
    found.push_back(grammar_spec(fields, "grammar", *grammar, limits));
  if (found.size() > 1) {
    fields.refuse("structured_outputs",
                  "only one of response_format, structured_outputs, guided_*, json_schema and grammar can be given");
  }
  return found.empty() ? ConstraintSpec{} : std::move(found.front());
}

}  // namespace awq::server
