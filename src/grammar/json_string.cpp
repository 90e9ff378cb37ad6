#include "grammar/json_string.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/check.h"

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

}  // namespace

void schema_error(const std::string& path, const std::string& what) {
  grammar_error(fmt::format("schema {}: {}", path.empty() ? "#" : printable(path, 200), what));
}

std::optional<std::int64_t> schema_count(const Json& schema, const char* keyword, const std::string& path,
                                         std::int64_t limit) {
  const auto found = schema.find(keyword);
  if (found == schema.end()) return std::nullopt;
  const bool whole = found->is_number_float() &&
                     found->get<double>() ==
                         static_cast<double>(static_cast<std::int64_t>(std::clamp(found->get<double>(), -1.0, 1e9)));
  if (!found->is_number_integer() && !whole) schema_error(path, fmt::format("{}: expected a whole number", keyword));
  const auto value = static_cast<std::int64_t>(found->get<double>());
  if (value < 0 || value > limit) schema_error(path, fmt::format("{}: expected 0 to {}", keyword, limit));
  return value;
}

std::optional<NodeId> add_string_text(Grammar& g, const Json& schema, const std::string& path, const ClassWriter& write,
                                      const std::function<NodeId()>& any_char) {
  const auto min = schema_count(schema, "minLength", path, g.limits().repeat);
  const auto max = schema_count(schema, "maxLength", path, g.limits().repeat);
  const char* pattern = nullptr;
  std::string given;
  auto anchors = RegexAnchors::kFull;
  if (schema.contains("format") && schema["format"].is_string()) {
    pattern = format_pattern(schema["format"].get<std::string>());
  }
  if (schema.contains("pattern")) {
    if (!schema["pattern"].is_string()) schema_error(path, "pattern: expected a text");
    if (pattern != nullptr) schema_error(path, "pattern beside this format is not supported");
    given = schema["pattern"].get<std::string>();
    pattern = given.c_str();
    anchors = RegexAnchors::kSearch;
  }
  if (pattern == nullptr) {
    if (!min && !max) return std::nullopt;
    return g.repeat(any_char(), min.value_or(0), max.value_or(kUnbounded));
  }
  if (min.value_or(0) > 0 || max) {
    schema_error(path, "minLength and maxLength beside pattern or format are not supported");
  }
  try {
    return parse_regex(g, given.empty() ? std::string_view(pattern) : std::string_view(given), anchors, write);
  } catch (Error& error) {
    error.add_note("schema " + printable(path, 200));
    throw;
  }
}

}  // namespace awq::grammar
