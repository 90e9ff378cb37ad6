#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "file/json.h"
#include "grammar/grammar.h"
#include "grammar/regex_parser.h"

namespace awq::grammar {

/// Throws kInvalidArgument for a place in a schema.
[[noreturn]] void schema_error(const std::string& path, const std::string& what);

/// A keyword that counts something, 0 to `limit`; nothing where it is not there.
std::optional<std::int64_t> schema_count(const file::OrderedJson& schema, const char* keyword, const std::string& path,
                                         std::int64_t limit);

/// Adds what a string may say by minLength, maxLength, pattern and format (json_schema.h), without its quotes: `write`
/// says how characters of a pattern are written, `any_char` makes one of a string without. Nothing where the schema has
/// no such keyword.
std::optional<NodeId> add_string_text(Grammar& grammar, const file::OrderedJson& schema, const std::string& path,
                                      const ClassWriter& write, const std::function<NodeId()>& any_char);

}  // namespace awq::grammar
