#include "chat/xml_calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/check.h"
#include "chat/scan_text.h"
#include "grammar/json_schema.h"
#include "grammar/json_string.h"

namespace awq::chat {
namespace {

using file::OrderedJson;
using grammar::CharSet;
using grammar::Grammar;
using grammar::NodeId;

constexpr int kMaxReferences = 8;
constexpr int kMaxValueDepth = 64;
constexpr std::string_view kParameterEnd = "</parameter>";
constexpr std::string_view kValueEnd = "</arg_value>";

[[noreturn]] void refuse(const std::string& what) { fail(ErrorCode::kInvalidArgument, "{}", what); }

/// Names stand in tags.
void check_name(const std::string& name, const char* what) {
  if (name.empty() || name.find_first_of("<>\n\r") != std::string::npos) {
    refuse(fmt::format("{} \"{}\": this model's notation cannot write it", what, printable(name, 60)));
  }
}

bool is_json(std::string_view text) {
  try {
    static_cast<void>(file::parse_json<file::Json>(text, "value", {.max_depth = kMaxValueDepth}));
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// What may stand before `end`, with it.
NodeId add_value(Grammar& g, const OrderedJson& schema, const OrderedJson& parameters, const std::string& key,
                 std::string_view end, bool own_line) {
  const NodeId tail = g.text(fmt::format("{}{}", own_line ? "\n" : "", end));
  if (!is_plain_text(schema)) {
    OrderedJson document = schema;
    for (const char* definitions : {"$defs", "definitions"}) {  // what references of the argument point at
      if (document.is_object() && parameters.contains(definitions)) document[definitions] = parameters[definitions];
    }
    return g.sequence({grammar::add_json_schema(g, document), tail});
  }
  if (schema.contains("enum") || schema.contains("const")) {
    std::vector<NodeId> values;
    for (const OrderedJson& value : schema.contains("enum") ? schema["enum"] : OrderedJson::array({schema["const"]})) {
      const auto& text = value.get_ref<const std::string&>();
      if (schema.contains("const") && value != schema["const"]) continue;
      if (text.find(end) != std::string::npos)
        refuse(fmt::format("parameter \"{}\": a value holds {}", printable(key, 60), end));
      values.push_back(g.text(text));
    }
    return g.sequence({g.choice(std::move(values)), tail});
  }
  // Beside a pattern or a length nothing could keep the end tag out but leaving out what it begins with.
  const CharSet open = CharSet::one('<');
  const auto write = [&](Grammar& to, const CharSet& set) { return to.char_class(set.without(open)); };
  const auto text = grammar::add_string_text(g, schema, fmt::format("#/properties/{}", key), write,
                                             [&] { return g.char_class(open.complement()); });
  if (text) return g.sequence({*text, tail});
  return add_text_until(g, end, g.empty());
}

}  // namespace

const OrderedJson* find_property(const OrderedJson& parameters, const std::string& key) {
  const auto properties = parameters.find("properties");
  if (properties == parameters.end() || !properties->is_object()) return nullptr;
  const auto found = properties->find(key);
  if (found == properties->end()) return nullptr;
  const OrderedJson* schema = &*found;
  for (int i = 0; i < kMaxReferences && schema->is_object() && schema->size() == 1 && schema->contains("$ref"); ++i) {
    const OrderedJson& reference = (*schema)["$ref"];
    if (!reference.is_string()) break;
    const auto& text = reference.get_ref<const std::string&>();
    const std::size_t name = text.rfind('/');
    const std::string group = name == std::string::npos ? "" : text.substr(0, name);
    if (group != "#/$defs" && group != "#/definitions") break;
    const auto definitions = parameters.find(group.substr(2));
    if (definitions == parameters.end() || !definitions->is_object()) break;
    const auto target = definitions->find(text.substr(name + 1));
    if (target == definitions->end()) break;
    schema = &*target;
  }
  return schema;
}

bool is_plain_text(const OrderedJson& schema) {
  if (!schema.is_object()) return false;
  for (const char* keyword : {"$ref", "anyOf", "oneOf", "allOf", "not", "if"}) {
    if (schema.contains(keyword)) return false;
  }
  const auto type = schema.find("type");
  if (type != schema.end() && *type != "string") return false;
  const auto values = schema.find("enum");
  const auto value = schema.find("const");
  if (values == schema.end() && value == schema.end()) return type != schema.end();
  const bool texts = values == schema.end() ||
                     (values->is_array() && !values->empty() &&
                      std::all_of(values->begin(), values->end(), [](const OrderedJson& v) { return v.is_string(); }));
  return texts && (value == schema.end() || value->is_string());
}

std::string to_json_value(std::string_view written, const OrderedJson* schema) {
  if (schema != nullptr && is_plain_text(*schema)) return in_quotes(written);
  const std::string_view text = trimmed(written);
  if (is_json(text)) return std::string(text);
  if (text == "True") return "true";
  if (text == "False") return "false";
  if (text == "None") return "null";
  return in_quotes(written);
}

NodeId add_text_until(Grammar& g, std::string_view end, NodeId after) {
  // One rule for each length of `end` that has been read; another character leads back as far as it must.
  AWQ_CHECK(!end.empty() && end.find(end[0], 1) == std::string_view::npos);
  std::vector<grammar::RuleId> states;
  for (std::size_t i = 0; i <= end.size(); ++i) states.push_back(g.declare("until"));
  for (std::size_t i = 0; i < end.size(); ++i) {
    const auto next = static_cast<char32_t>(end[i]);
    std::vector<grammar::CharRange> known = {{next, next}};
    std::vector<NodeId> ways = {g.sequence({g.text(std::string(1, end[i])), g.rule(states[i + 1])})};
    if (i > 0) {
      const auto first = static_cast<char32_t>(end[0]);
      known.push_back({first, first});
      ways.push_back(g.sequence({g.text(std::string(1, end[0])), g.rule(states[1])}));
    }
    ways.push_back(g.sequence({g.char_class(CharSet(std::move(known)).complement()), g.rule(states[0])}));
    g.define(states[i], g.choice(std::move(ways)));
  }
  g.define(states[end.size()], after);
  return g.rule(states[0]);
}

NodeId add_xml_call(Grammar& g, ToolFormat format, const std::string& name, const OrderedJson& parameters) {
  const bool qwen = format == ToolFormat::kQwenXml;
  check_name(name, "function");
  for (const char* keyword : {"$ref", "anyOf", "oneOf", "allOf", "not", "if", "enum", "const", "minProperties",
                              "maxProperties", "patternProperties", "propertyNames"}) {
    if (parameters.contains(keyword))
      refuse(fmt::format("{} at the top of parameters: this model's notation cannot enforce it", keyword));
  }
  if (parameters.contains("type") && parameters["type"] != "object") refuse("parameters.type: expected \"object\"");
  OrderedJson properties = parameters.contains("properties") ? parameters["properties"] : OrderedJson::object();
  if (!properties.is_object()) refuse("parameters.properties: expected an object");
  std::set<std::string> required;
  if (parameters.contains("required")) {
    if (!parameters["required"].is_array()) refuse("parameters.required: expected a list");
    for (const OrderedJson& key : parameters["required"]) {
      if (!key.is_string()) refuse("parameters.required: expected texts");
      required.insert(key.get<std::string>());
      if (!properties.contains(key.get<std::string>())) properties[key.get<std::string>()] = true;
    }
  }
  // GLM's line feeds: each model writes what its template shows.
  const NodeId feed = qwen ? g.text("\n") : g.optional(g.text("\n"));
  std::vector<NodeId> parts = {g.text(qwen ? fmt::format("<function={}>", name) : name), feed};
  for (const auto& [key, declared] : properties.items()) {
    check_name(key, "parameter");
    const OrderedJson* found = find_property(parameters, key);
    const OrderedJson& schema = found != nullptr ? *found : declared;
    const NodeId head =
        qwen ? g.text(fmt::format("<parameter={}>\n", key))
             : g.sequence({g.text(fmt::format("<arg_key>{}</arg_key>", key)), feed, g.text("<arg_value>")});
    const NodeId value = add_value(g, schema, parameters, key, qwen ? kParameterEnd : kValueEnd, qwen);
    const NodeId argument = g.sequence({head, value, feed});
    parts.push_back(required.contains(key) ? argument : g.optional(argument));
  }
  if (qwen) parts.push_back(g.text("</function>\n"));
  return g.sequence(std::move(parts));
}

}  // namespace awq::chat
