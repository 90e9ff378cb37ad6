#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "file/json.h"
#include "grammar/json_rules.h"

namespace awq::grammar {

/// Throws for the part of a schema at `path` ("" is its root).
[[noreturn]] void refuse_schema(const std::string& path, const std::string& what);

/// A keyword that counts something (minLength, maxItems ...): a whole number up to the grammar's limit of repetitions,
/// or nothing where the schema does not have it.
std::optional<std::int64_t> schema_count(const Grammar& grammar, const file::OrderedJson& schema, const char* keyword,
                                         const std::string& path);

/// `content` in quotation marks.
NodeId quoted(Grammar& grammar, NodeId content);

/// Texts with minLength and maxLength, a pattern or a known format.
NodeId string_schema(JsonRules& rules, const file::OrderedJson& schema, const std::string& path);

/// Numbers, or whole ones, between bounds.
NodeId number_schema(JsonRules& rules, const file::OrderedJson& schema, bool integer, const std::string& path);

}  // namespace awq::grammar
