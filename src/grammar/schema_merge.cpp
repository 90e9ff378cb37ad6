#include "grammar/schema_merge.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/check.h"
#include "grammar/grammar.h"

namespace awq::grammar {
namespace {

using Json = file::OrderedJson;

constexpr const char* kAnnotations[] = {
    "title",    "description", "default",          "examples",        "$schema",      "$id",
    "$comment", "$defs",       "definitions",      "deprecated",      "readOnly",     "writeOnly",
    "strict",   "$anchor",     "contentMediaType", "contentEncoding", "discriminator"};
constexpr int kMaxReferences = 64;
constexpr int kMaxMerges = 500;  // also the depth of merges within merges

[[noreturn]] void refuse(const std::string& path, const std::string& what) {
  grammar_error(fmt::format("schema {}: {}", printable(path, 200), what));
}

bool is_annotation(const std::string& keyword) {
  return std::find(std::begin(kAnnotations), std::end(kAnnotations), keyword) != std::end(kAnnotations);
}

/// A schema without $ref at its top, references followed.
Json followed(SchemaDocument& document, const Json& schema, const std::string& path) {
  Json out = schema;
  for (int i = 0; out.is_object() && out.contains("$ref"); ++i) {
    if (i >= kMaxReferences) refuse(path, "$ref goes in a circle");
    const Json& target = resolve(document, out["$ref"], path);
    if (!has_constraints_beside(out, "$ref")) {
      out = target;
    } else {
      Json rest = without(out, "$ref");
      if (target.is_object() && target.contains("$ref")) refuse(path, "a chain of $ref with other keywords beside it");
      out = merged_schemas(document, rest, target, path);
    }
  }
  return out;
}

std::set<std::string> type_set(const Json& value) {
  std::set<std::string> out;
  if (value.is_string()) out.insert(value.get<std::string>());
  if (value.is_array()) {
    for (const Json& name : value) {
      if (name.is_string()) out.insert(name.get<std::string>());
    }
  }
  return out;
}

Json common_types(const Json& a, const Json& b, const std::string& path) {
  const std::set<std::string> x = type_set(a);
  const std::set<std::string> y = type_set(b);
  Json out = Json::array();
  for (const std::string& type : x) {
    if (y.contains(type) || (type == "integer" && y.contains("number"))) out.push_back(type);
  }
  if (x.contains("number") && y.contains("integer") && !x.contains("integer")) out.push_back("integer");
  if (out.empty()) refuse(path, "allOf: the types exclude each other");
  return out.size() == 1 ? out[0] : out;
}

Json common_values(const Json& a, const Json& b) {
  Json out = Json::array();
  for (const Json& value : a) {
    if (std::find(b.begin(), b.end(), value) != b.end()) out.push_back(value);
  }
  return out;
}

/// Whether an object schema forbids properties that the other one declares.
bool forbids(const Json& closed, const Json& other) {
  const auto extra = closed.find("additionalProperties");
  if (extra == closed.end() || (extra->is_boolean() && extra->get<bool>())) return false;
  if (!other.contains("properties")) return false;
  for (const auto& [name, unused] : other["properties"].items()) {
    if (!closed.contains("properties") || !closed["properties"].contains(name)) return true;
  }
  return false;
}

/// The values that a schema allows for sure no other: const, a single enum, or a type.
struct Shape {
  std::set<std::string> types;   ///< empty: any
  std::set<std::string> values;  ///< empty: any
};
Shape shape_of(const Json& schema) {
  Shape out;
  if (!schema.is_object()) return out;
  if (schema.contains("type")) out.types = type_set(schema["type"]);
  if (out.types.contains("number")) out.types.insert("integer");
  if (schema.contains("const")) out.values.insert(schema["const"].dump());
  if (schema.contains("enum") && schema["enum"].is_array()) {
    for (const Json& value : schema["enum"]) out.values.insert(value.dump());
  }
  if (out.types.empty() && schema.contains("properties")) out.types.insert("object");
  return out;
}

bool disjoint(const std::set<std::string>& a, const std::set<std::string>& b) {
  if (a.empty() || b.empty()) return false;
  return std::none_of(a.begin(), a.end(), [&](const std::string& s) { return b.contains(s); });
}

bool requires_property(const Json& schema, const std::string& name) {
  if (!schema.contains("required") || !schema["required"].is_array()) return false;
  return std::find(schema["required"].begin(), schema["required"].end(), Json(name)) != schema["required"].end();
}

bool exclusive(const Json& a, const Json& b) {
  const Shape x = shape_of(a);
  const Shape y = shape_of(b);
  if (disjoint(x.types, y.types) || disjoint(x.values, y.values)) return true;
  if (!a.is_object() || !b.is_object() || !a.contains("properties") || !b.contains("properties")) return false;
  for (const auto& [name, property] : a["properties"].items()) {
    if (!b["properties"].contains(name) || !requires_property(a, name) || !requires_property(b, name)) continue;
    const Shape p = shape_of(property);
    const Shape q = shape_of(b["properties"][name]);
    if (disjoint(p.types, q.types) || disjoint(p.values, q.values)) return true;
  }
  return false;
}

}  // namespace

const Json& resolve(const SchemaDocument& document, const Json& reference, const std::string& path) {
  if (!reference.is_string()) refuse(path, "$ref: expected a text");
  const std::string& text = reference.get_ref<const std::string&>();
  if (!text.starts_with("#"))
    refuse(path, "$ref: found \"" + printable(text, 80) + "\", expected a place in this document");
  const Json* at = &document.root;
  std::string_view rest = std::string_view(text).substr(1);
  while (!rest.empty()) {
    if (rest[0] != '/') refuse(path, "$ref: expected a JSON pointer");
    rest.remove_prefix(1);
    const std::string_view raw = rest.substr(0, rest.find('/'));
    rest.remove_prefix(raw.size());
    std::string part;
    for (std::size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] == '~' && i + 1 < raw.size()) {
        part += raw[++i] == '1' ? '/' : '~';
      } else if (raw[i] == '%' && i + 2 < raw.size()) {
        unsigned value = 0;
        const auto result = std::from_chars(raw.data() + i + 1, raw.data() + i + 3, value, 16);
        if (result.ptr != raw.data() + i + 3) refuse(path, "$ref: bad percent escape");
        part += static_cast<char>(value);
        i += 2;
      } else {
        part += raw[i];
      }
    }
    std::size_t index = 0;
    const auto number = std::from_chars(part.data(), part.data() + part.size(), index);
    const bool is_index = number.ec == std::errc() && number.ptr == part.data() + part.size();
    if (at->is_object() && at->contains(part)) {
      at = &(*at)[part];
    } else if (at->is_array() && is_index && index < at->size()) {
      at = &(*at)[index];
    } else {
      refuse(path, "$ref: \"" + printable(text, 80) + "\" points at nothing");
    }
  }
  return *at;
}

bool has_constraints_beside(const Json& schema, const std::string& keyword) {
  for (const auto& [key, unused] : schema.items()) {
    if (key != keyword && !is_annotation(key)) return true;
  }
  return false;
}

Json without(const Json& schema, const std::string& keyword) {
  Json out = schema;
  out.erase(keyword);
  return out;
}

Json merged_schemas(SchemaDocument& document, const Json& first, const Json& second, const std::string& path) {
  if (++document.merges > kMaxMerges) refuse(path, "allOf and $ref together take too much work");
  const Json a = followed(document, first, path);
  const Json b = followed(document, second, path);
  if (a.is_boolean()) return a.get<bool>() ? b : a;
  if (b.is_boolean()) return b.get<bool>() ? a : b;
  if (!a.is_object() || !b.is_object()) refuse(path, "expected an object or a boolean");
  if (forbids(a, b) || forbids(b, a)) {
    refuse(path, "allOf: additionalProperties of one part refuses properties of another");
  }
  Json out = a;
  for (const auto& [key, value] : b.items()) {
    const auto mine = out.find(key);
    if (mine == out.end()) {
      out[key] = value;
    } else if (*mine == value || is_annotation(key)) {
      continue;
    } else if (key == "type") {
      *mine = common_types(*mine, value, path);
    } else if (key == "properties" && value.is_object() && mine->is_object()) {
      for (const auto& [name, property] : value.items()) {
        if (mine->contains(name)) {
          (*mine)[name] = merged_schemas(document, (*mine)[name], property, path + "/" + name);
        } else {
          (*mine)[name] = property;
        }
      }
    } else if (key == "required" && value.is_array() && mine->is_array()) {
      for (const Json& name : value) {
        if (std::find(mine->begin(), mine->end(), name) == mine->end()) mine->push_back(name);
      }
    } else if (key == "enum" && value.is_array() && mine->is_array()) {
      *mine = common_values(*mine, value);
    } else if (key.starts_with("min") || key == "exclusiveMinimum") {
      if (!value.is_number() || !mine->is_number()) refuse(path, key + ": expected a number");
      if (value.get<double>() > mine->get<double>()) *mine = value;
    } else if (key.starts_with("max") || key == "exclusiveMaximum") {
      if (!value.is_number() || !mine->is_number()) refuse(path, key + ": expected a number");
      if (value.get<double>() < mine->get<double>()) *mine = value;
    } else if (key == "allOf" && value.is_array() && mine->is_array()) {
      for (const Json& part : value) mine->push_back(part);
    } else {
      refuse(path, fmt::format("allOf: two different \"{}\" cannot be joined", printable(key, 40)));
    }
  }
  return out;
}

Json merged_all_of(SchemaDocument& document, const Json& schema, const std::string& path) {
  if (!schema["allOf"].is_array()) refuse(path, "allOf: expected a list");
  Json out = without(schema, "allOf");
  for (std::size_t i = 0; i < schema["allOf"].size(); ++i) {
    out = merged_schemas(document, out, schema["allOf"][i], fmt::format("{}/allOf/{}", path, i));
  }
  return out;
}

bool mutually_exclusive(SchemaDocument& document, const Json& schemas, const std::string& path) {
  std::vector<Json> all;
  for (const Json& schema : schemas) all.push_back(followed(document, schema, path));
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = i + 1; j < all.size(); ++j) {
      if (!exclusive(all[i], all[j])) return false;
    }
  }
  return true;
}

}  // namespace awq::grammar
