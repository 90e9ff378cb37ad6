#include "grammar/schema_scalars.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "base/check.h"
#include "grammar/regex_parser.h"
#include "text/utf8.h"

namespace awq::grammar {
namespace {

using Json = file::OrderedJson;

const char* format_pattern(const std::string& format) {
#define AWQ_DATE                                                                                          \
  "[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|" \
  "02-(?:0[1-9]|1[0-9]|2[0-8]))"
#define AWQ_TIME "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
  static const std::map<std::string, const char*> patterns = {
      {"date", AWQ_DATE},
      {"time", AWQ_TIME},
      {"date-time", AWQ_DATE "T" AWQ_TIME},
      {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
      {"ipv4", "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"},
      {"email",
       "[A-Za-z0-9][A-Za-z0-9_+-]{0,30}(?:\\.[A-Za-z0-9_+-]{1,15}){0,2}@[A-Za-z0-9]{1,30}(?:\\.[A-Za-z0-9]{1,15}){1,"
       "3}"},
  };
#undef AWQ_DATE
#undef AWQ_TIME
  const auto found = patterns.find(format);
  return found == patterns.end() ? nullptr : found->second;
}

/// A bound as a whole number. `up`: the smallest whole number that is not below it; a bound between two whole
/// numbers loses its openness.
std::optional<std::int64_t> bound(const Json& value, bool up, bool whole_only, const char* keyword,
                                  const std::string& path) {
  if (!value.is_number()) refuse_schema(path, fmt::format("{}: expected a number", keyword));
  if (value.is_number_integer()) {
    const bool fits = !value.is_number_unsigned() || std::in_range<std::int64_t>(value.get<std::uint64_t>());
    if (!fits) refuse_schema(path, fmt::format("{}: beyond 64 bits", keyword));
    return value.get<std::int64_t>();
  }
  const double number = value.get<double>();
  const double rounded = up ? std::ceil(number) : std::floor(number);
  if (!(std::abs(number) < 9e15)) refuse_schema(path, fmt::format("{}: too large", keyword));
  if (rounded != number && !whole_only) {
    refuse_schema(path, fmt::format("{}: bounds of \"number\" that are not whole are not supported", keyword));
  }
  return static_cast<std::int64_t>(rounded);
}

}  // namespace

void refuse_schema(const std::string& path, const std::string& what) {
  grammar_error(fmt::format("schema {}: {}", path.empty() ? "#" : printable(path, 200), what));
}

NodeId quoted(Grammar& grammar, NodeId content) {
  return grammar.sequence({grammar.text("\""), content, grammar.text("\"")});
}

std::optional<std::int64_t> schema_count(const Grammar& grammar, const Json& schema, const char* keyword,
                                         const std::string& path) {
  const auto found = schema.find(keyword);
  if (found == schema.end()) return std::nullopt;
  const bool whole = found->is_number_float() &&
                     found->get<double>() ==
                         static_cast<double>(static_cast<std::int64_t>(std::clamp(found->get<double>(), -1.0, 1e9)));
  if (!found->is_number_integer() && !whole) refuse_schema(path, fmt::format("{}: expected a whole number", keyword));
  const auto value = static_cast<std::int64_t>(found->get<double>());
  if (value < 0 || value > grammar.limits().repeat) {
    refuse_schema(path, fmt::format("{}: expected 0 to {}", keyword, grammar.limits().repeat));
  }
  return value;
}

NodeId string_schema(JsonRules& rules, const Json& schema, const std::string& path) {
  Grammar& grammar = rules.grammar();
  const auto min = schema_count(grammar, schema, "minLength", path);
  const auto max = schema_count(grammar, schema, "maxLength", path);
  const char* pattern = nullptr;
  std::string given;
  auto anchors = RegexAnchors::kFull;
  if (schema.contains("format") && schema["format"].is_string()) {
    pattern = format_pattern(schema["format"].get<std::string>());
  }
  if (schema.contains("pattern")) {
    if (!schema["pattern"].is_string()) refuse_schema(path, "pattern: expected a text");
    if (pattern != nullptr) refuse_schema(path, "pattern beside this format is not supported");
    given = schema["pattern"].get<std::string>();
    pattern = given.c_str();
    anchors = RegexAnchors::kSearch;
  }
  if (pattern != nullptr) {
    if (min.value_or(0) > 0 || max)
      refuse_schema(path, "minLength and maxLength beside pattern or format are not supported");
    try {
      return quoted(grammar, parse_regex(grammar, given.empty() ? std::string_view(pattern) : std::string_view(given),
                                         anchors, write_in_json_string));
    } catch (Error& error) {
      error.add_note("schema " + printable(path, 200));
      throw;
    }
  }
  if (!min && !max) return rules.string();
  return quoted(grammar, grammar.repeat(rules.string_char(), min.value_or(0), max.value_or(kUnbounded)));
}

NodeId number_schema(JsonRules& rules, const Json& schema, bool integer, const std::string& path) {
  Grammar& grammar = rules.grammar();
  NumberBounds b;
  const auto is_whole = [&](const char* keyword) {
    return !schema[keyword].is_number_float() ||
           std::floor(schema[keyword].get<double>()) == schema[keyword].get<double>();
  };
  if (schema.contains("minimum")) b.low = bound(schema["minimum"], true, integer, "minimum", path);
  if (schema.contains("maximum")) b.high = bound(schema["maximum"], false, integer, "maximum", path);
  if (schema.contains("exclusiveMinimum")) {
    const auto value = bound(schema["exclusiveMinimum"], true, integer, "exclusiveMinimum", path);
    if (!b.low || *value >= *b.low) {
      b.low_open = is_whole("exclusiveMinimum");
      b.low = value;
    }
  }
  if (schema.contains("exclusiveMaximum")) {
    const auto value = bound(schema["exclusiveMaximum"], false, integer, "exclusiveMaximum", path);
    if (!b.high || *value <= *b.high) {
      b.high_open = is_whole("exclusiveMaximum");
      b.high = value;
    }
  }
  if (!b.low && !b.high) return integer ? rules.integer() : rules.number();
  if (!integer) return number_range(grammar, b);
  if (b.low && b.low_open && __builtin_add_overflow(*b.low, 1, &*b.low)) return grammar.nothing();
  if (b.high && b.high_open && __builtin_sub_overflow(*b.high, 1, &*b.high)) return grammar.nothing();
  constexpr std::int64_t kFar = 999'999'999'999'999'999;
  const std::int64_t low = b.low.value_or(std::min(-kFar, b.high.value_or(0)));
  const std::int64_t high = b.high.value_or(std::max(kFar, b.low.value_or(0)));
  return low > high ? grammar.nothing() : integer_range(grammar, low, high);
}

}  // namespace awq::grammar
