#include "grammar/json_schema.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "base/check.h"
#include "grammar/json_rules.h"
#include "grammar/json_string.h"
#include "grammar/schema_merge.h"
#include "grammar/schema_numbers.h"
#include "text/utf8.h"

namespace awq::grammar {
namespace {

using Json = file::OrderedJson;

constexpr const char* kRefused[] = {"not",
                                    "if",
                                    "then",
                                    "else",
                                    "contains",
                                    "minContains",
                                    "maxContains",
                                    "uniqueItems",
                                    "multipleOf",
                                    "patternProperties",
                                    "propertyNames",
                                    "dependentRequired",
                                    "dependentSchemas",
                                    "dependencies",
                                    "$dynamicRef",
                                    "$recursiveRef"};
constexpr const char* kTypes[] = {"object", "array", "string", "number", "integer", "boolean", "null"};

class SchemaCompiler {
 public:
  SchemaCompiler(Grammar& grammar, const Json& root) : g_(grammar), rules_(grammar), root_{root} {}

  NodeId compile(const Json& schema, const std::string& path) {
    if (++depth_ > g_.limits().depth || ++total_depth_ > 256) refuse(path, "nested too deeply");
    const NodeId out = compile_inner(schema, path);
    --depth_;
    --total_depth_;
    return out;
  }

 private:
  [[noreturn]] static void refuse(const std::string& path, const std::string& what) { schema_error(path, what); }

  NodeId compile_inner(const Json& schema, const std::string& path) {
    if (schema.is_boolean()) return schema.get<bool>() ? rules_.value() : g_.nothing();
    if (!schema.is_object()) refuse(path, "expected an object or a boolean");
    for (const char* keyword : kRefused) {
      const auto found = schema.find(keyword);
      const bool harmless = found != schema.end() && found->is_boolean() && !found->get<bool>() &&
                            std::string_view(keyword) == "uniqueItems";
      if (found != schema.end() && !harmless) refuse(path, fmt::format("\"{}\" is not supported", keyword));
    }
    if (schema.contains("$ref")) return reference(schema, path);
    if (schema.contains("allOf")) return compile(merged_all_of(root_, schema, path), path);
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (schema.contains(keyword)) return branches(schema, keyword, path);
    }
    if (schema.contains("const") || schema.contains("enum")) return literals(schema, path);
    std::vector<NodeId> parts;
    for (const std::string& type : types_of(schema, path)) parts.push_back(of_type(type, schema, path));
    return g_.choice(std::move(parts));
  }

  NodeId reference(const Json& schema, const std::string& path) {
    if (!schema["$ref"].is_string()) refuse(path, "$ref: expected a text");
    if (has_constraints_beside(schema, "$ref")) {
      return compile(merged_schemas(root_, without(schema, "$ref"), resolve(root_, schema["$ref"], path), path), path);
    }
    const auto target = schema["$ref"].get<std::string>();
    const auto known = references_.find(target);
    if (known != references_.end()) return g_.rule(known->second);
    const RuleId rule = g_.declare(target);
    references_.emplace(target, rule);
    const int depth = std::exchange(depth_, 0);  // a chain of definitions is no nesting
    g_.define(rule, compile(resolve(root_, schema["$ref"], path), target));
    depth_ = depth;
    return g_.rule(rule);
  }

  NodeId branches(const Json& schema, const char* keyword, const std::string& path) {
    const Json& list = schema[keyword];
    if (!list.is_array() || list.empty()) refuse(path, fmt::format("{}: expected a list that is not empty", keyword));
    if (std::string_view(keyword) == "oneOf" && !mutually_exclusive(root_, list, path)) {
      refuse(path,
             "oneOf: the branches do not visibly exclude each other (by type, by const or by a required "
             "property with different const); use anyOf");
    }
    const bool alone = !has_constraints_beside(schema, keyword);
    std::vector<NodeId> parts;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string where = fmt::format("{}/{}/{}", path, keyword, i);
      parts.push_back(alone ? compile(list[i], where)
                            : compile(merged_schemas(root_, without(schema, keyword), list[i], where), where));
    }
    return g_.choice(std::move(parts));
  }

  static bool is_type(const Json& value, const std::string& type) {
    if (type == "object") return value.is_object();
    if (type == "array") return value.is_array();
    if (type == "string") return value.is_string();
    if (type == "boolean") return value.is_boolean();
    if (type == "null") return value.is_null();
    if (type == "integer") return value.is_number_integer();
    return value.is_number();
  }

  NodeId literals(const Json& schema, const std::string& path) {
    for (const char* keyword : {"minLength", "maxLength", "pattern", "minimum", "maximum", "exclusiveMinimum",
                                "exclusiveMaximum", "properties", "items", "prefixItems"}) {
      if (schema.contains(keyword)) refuse(path, fmt::format("\"{}\" beside enum or const is not supported", keyword));
    }
    Json values = schema.contains("enum") ? schema["enum"] : Json::array({schema["const"]});
    if (!values.is_array()) refuse(path, "enum: expected a list");
    std::vector<NodeId> parts;
    for (const Json& value : values) {
      if (schema.contains("const") && value != schema["const"]) continue;
      bool fits = !schema.contains("type");
      for (const std::string& type : fits ? std::vector<std::string>() : types_of(schema, path)) {
        fits = fits || is_type(value, type);
      }
      if (fits) parts.push_back(g_.text(value.dump()));
    }
    return g_.choice(std::move(parts));
  }

  std::vector<std::string> types_of(const Json& schema, const std::string& path) const {
    std::vector<std::string> out;
    if (const auto type = schema.find("type"); type != schema.end()) {
      const Json list = type->is_array() ? *type : Json::array({*type});
      for (const Json& name : list) {
        const bool known =
            name.is_string() && std::find(std::begin(kTypes), std::end(kTypes), name) != std::end(kTypes);
        if (!known) refuse(path, "type: found " + printable(name.dump(), 40));
        out.push_back(name.get<std::string>());
      }
      return out;
    }
    const auto any = [&](std::initializer_list<const char*> keywords) {
      return std::any_of(keywords.begin(), keywords.end(), [&](const char* k) { return schema.contains(k); });
    };
    if (any({"properties", "required", "additionalProperties", "minProperties", "maxProperties"})) return {"object"};
    if (any({"items", "prefixItems", "minItems", "maxItems"})) return {"array"};
    if (any({"minLength", "maxLength", "pattern", "format"})) return {"string"};
    if (any({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})) return {"number"};
    return {"any"};
  }

  NodeId of_type(const std::string& type, const Json& schema, const std::string& path) {
    if (type == "any") return rules_.value();
    if (type == "object") return object(schema, path);
    if (type == "array") return array(schema, path);
    if (type == "string") return string(schema, path);
    if (type == "boolean") return rules_.boolean();
    if (type == "null") return rules_.null();
    return number_schema(rules_, schema, type == "integer", path);
  }

  std::optional<std::int64_t> count(const Json& schema, const char* keyword, const std::string& path) const {
    return schema_count(schema, keyword, path, g_.limits().repeat);
  }

  NodeId quoted(NodeId content) { return g_.sequence({g_.text("\""), content, g_.text("\"")}); }

  NodeId string(const Json& schema, const std::string& path) {
    const auto content = add_string_text(g_, schema, path, write_in_json_string, [&] { return rules_.string_char(); });
    return content ? quoted(*content) : rules_.string();
  }

  NodeId array(const Json& schema, const std::string& path) {
    const Json none;
    const bool old_tuple = schema.contains("items") && schema["items"].is_array();
    const Json& prefix = schema.contains("prefixItems") ? schema["prefixItems"] : old_tuple ? schema["items"] : none;
    const char* rest_key = old_tuple ? "additionalItems" : "items";
    const Json rest = schema.contains(rest_key) ? schema[rest_key] : Json(true);
    if (!prefix.is_null() && !prefix.is_array()) refuse(path, "prefixItems: expected a list");
    const auto fixed = static_cast<std::int64_t>(prefix.is_null() ? 0 : prefix.size());
    const std::int64_t min = count(schema, "minItems", path).value_or(0);
    std::int64_t max = count(schema, "maxItems", path).value_or(kUnbounded);
    const bool closed = rest.is_boolean() && !rest.get<bool>();
    if (closed) max = max == kUnbounded ? fixed : std::min(max, fixed);
    if (max != kUnbounded && min > max) return g_.nothing();
    // From the back: what may follow item i, commas included.
    NodeId tail = g_.empty();
    const NodeId comma = rules_.comma();
    if (!closed && (max == kUnbounded || max > fixed)) {
      const NodeId item = rules_.shared(path + "/items", compile(rest, path + "/" + rest_key));
      if (fixed == 0) {
        const NodeId more = g_.repeat(g_.sequence({comma, item}), std::max<std::int64_t>(min - 1, 0),
                                      max == kUnbounded ? kUnbounded : max - 1);
        const NodeId some = g_.sequence({item, more, rules_.space()});
        return bracketed(min == 0 ? g_.optional(some) : some);
      }
      tail = g_.repeat(g_.sequence({comma, item}), std::max<std::int64_t>(min - fixed, 0),
                       max == kUnbounded ? kUnbounded : max - fixed);
    }
    for (std::int64_t i = fixed - 1; i >= 0; --i) {
      if (max != kUnbounded && i >= max) continue;
      const NodeId item = compile(prefix[static_cast<std::size_t>(i)], fmt::format("{}/prefixItems/{}", path, i));
      const NodeId from_here = g_.sequence({i == 0 ? g_.empty() : comma, item, tail});
      tail = rules_.shared(fmt::format("{}/tail/{}", path, i), i < min ? from_here : g_.optional(from_here));
    }
    return bracketed(g_.sequence({tail, rules_.space()}));
  }

  NodeId bracketed(NodeId inner) { return g_.sequence({g_.text("["), rules_.space(), inner, g_.text("]")}); }

  NodeId object(const Json& schema, const std::string& path) {
    Json properties = schema.contains("properties") ? schema["properties"] : Json::object();
    if (!properties.is_object()) refuse(path, "properties: expected an object");
    std::set<std::string> required;
    if (schema.contains("required")) {
      if (!schema["required"].is_array()) refuse(path, "required: expected a list");
      for (const Json& name : schema["required"]) {
        if (!name.is_string()) refuse(path, "required: expected texts");
        required.insert(name.get<std::string>());
        if (!properties.contains(name.get<std::string>())) properties[name.get<std::string>()] = true;
      }
    }
    const auto min = count(schema, "minProperties", path);
    const auto max = count(schema, "maxProperties", path);
    const Json extra =
        schema.contains("additionalProperties") ? schema["additionalProperties"] : Json(properties.empty());
    const bool closed = extra.is_boolean() && !extra.get<bool>();
    if (properties.empty()) return free_object(extra, closed, min.value_or(0), max.value_or(kUnbounded), path);
    const bool counts_matter = min.value_or(0) > static_cast<std::int64_t>(required.size()) ||
                               (max && (!closed || *max < static_cast<std::int64_t>(properties.size())));
    if (counts_matter) refuse(path, "minProperties and maxProperties beside properties are not supported");

    std::vector<NodeId> pairs;
    std::vector<bool> needed;
    std::vector<std::string> names;
    for (const auto& [name, property] : properties.items()) {
      const NodeId value = compile(property, path + "/properties/" + name);
      pairs.push_back(
          rules_.shared(path + "/" + name, g_.sequence({g_.text(Json(name).dump()), rules_.colon(), value})));
      needed.push_back(required.contains(name));
      names.push_back(name);
    }
    NodeId rest = g_.empty();   // after at least one pair
    NodeId first = g_.empty();  // before any
    if (!closed) {
      const NodeId pair = rules_.shared(path + "/*", g_.sequence({other_key(names, path), rules_.colon(),
                                                                  compile(extra, path + "/additionalProperties")}));
      rest = rules_.shared(path + "/rest", g_.repeat(g_.sequence({rules_.comma(), pair}), 0, kUnbounded));
      first = g_.optional(g_.sequence({pair, rest}));
    }
    for (std::size_t i = pairs.size(); i-- > 0;) {
      const NodeId here_first = g_.sequence({pairs[i], rest});
      const NodeId here_rest = g_.sequence({rules_.comma(), pairs[i], rest});
      first =
          rules_.shared(fmt::format("{}/first/{}", path, i), needed[i] ? here_first : g_.choice({here_first, first}));
      rest = rules_.shared(fmt::format("{}/rest/{}", path, i), needed[i] ? here_rest : g_.choice({here_rest, rest}));
    }
    return g_.sequence({g_.text("{"), rules_.space(), first, rules_.space(), g_.text("}")});
  }

  NodeId free_object(const Json& extra, bool closed, std::int64_t min, std::int64_t max, const std::string& path) {
    if (closed || max == 0) {
      return min > 0 ? g_.nothing() : g_.sequence({g_.text("{"), rules_.space(), g_.text("}")});
    }
    if (max != kUnbounded && min > max) return g_.nothing();
    const NodeId value = compile(extra, path + "/additionalProperties");
    const NodeId pair = rules_.shared(path + "/*", g_.sequence({rules_.string(), rules_.colon(), value}));
    const NodeId more = g_.repeat(g_.sequence({rules_.comma(), pair}), std::max<std::int64_t>(min - 1, 0),
                                  max == kUnbounded ? kUnbounded : max - 1);
    const NodeId some = g_.sequence({pair, more, rules_.space()});
    return g_.sequence({g_.text("{"), rules_.space(), min == 0 ? g_.optional(some) : some, g_.text("}")});
  }

  /// Any key but the declared ones, in characters that need no escape.
  NodeId other_key(std::vector<std::string> names, const std::string& path) {
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) {
      if (name.size() > 100) refuse(path, "additionalProperties beside a property of more than 100 bytes");
    }
    return quoted(differing(names, 0));
  }

  /// Texts that differ from all `names`, which share their first `at` bytes; those bytes have been read.
  NodeId differing(const std::vector<std::string>& names, std::size_t at) {
    const NodeId any = g_.repeat(g_.char_class(unescaped_json_chars()), 0, kUnbounded);
    std::map<char32_t, std::vector<std::string>> next;
    bool ends_here = false;
    for (const std::string& name : names) {
      if (name.size() == at) {
        ends_here = true;
        continue;
      }
      const text::Scalar c = text::scalar_at(name, at);
      if (unescaped_json_chars().contains(c.value)) next[c.value].push_back(name);
    }
    std::vector<CharRange> taken;
    std::vector<NodeId> parts;
    for (const auto& [c, below] : next) {
      taken.push_back({c, c});
      std::string bytes;
      text::append_utf8(bytes, c);
      parts.push_back(g_.sequence({g_.text(bytes), differing(below, at + bytes.size())}));
    }
    parts.push_back(g_.sequence({g_.char_class(unescaped_json_chars().without(CharSet(std::move(taken)))), any}));
    if (!ends_here) parts.push_back(g_.empty());
    return g_.choice(std::move(parts));
  }

  Grammar& g_;
  JsonRules rules_;
  SchemaDocument root_;
  std::map<std::string, RuleId> references_;
  int depth_ = 0;
  int total_depth_ = 0;  ///< through references
};

}  // namespace

NodeId add_json_schema(Grammar& grammar, const Json& schema) {
  return SchemaCompiler(grammar, schema).compile(schema, "#");
}

}  // namespace awq::grammar
