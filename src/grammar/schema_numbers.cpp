#include "grammar/schema_numbers.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/check.h"
#include "grammar/json_string.h"

namespace awq::grammar {
namespace {

using Json = file::OrderedJson;

/// A bound as a whole number. `up`: the smallest whole number that is not below it; a bound between two whole
/// numbers loses its openness.
std::optional<std::int64_t> bound(const Json& value, bool up, bool whole_only, const char* keyword,
                                  const std::string& path) {
  if (!value.is_number()) schema_error(path, fmt::format("{}: expected a number", keyword));
  if (value.is_number_integer()) {
    const bool fits = !value.is_number_unsigned() || std::in_range<std::int64_t>(value.get<std::uint64_t>());
    if (!fits) schema_error(path, fmt::format("{}: beyond 64 bits", keyword));
    return value.get<std::int64_t>();
  }
  const double number = value.get<double>();
  const double rounded = up ? std::ceil(number) : std::floor(number);
  if (!(std::abs(number) < 9e15)) schema_error(path, fmt::format("{}: too large", keyword));
  if (rounded != number && !whole_only) {
    schema_error(path, fmt::format("{}: bounds of \"number\" that are not whole are not supported", keyword));
  }
  return static_cast<std::int64_t>(rounded);
}

}  // namespace

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
