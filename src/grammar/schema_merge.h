#pragma once

#include <string>

#include "file/json.h"

namespace awq::grammar {

// Rewriting of JSON schemas: references, allOf, and what stands beside them. All throw kInvalidArgument naming `path`
// for what cannot be said as one schema.

/// A schema document, and the work that rewriting it took: references can make a small schema an endless one.
struct SchemaDocument {
  const file::OrderedJson& root;
  int merges = 0;
};

/// What `reference` ("#", "#/$defs/x" ...) points at in the document.
const file::OrderedJson& resolve(const SchemaDocument& document, const file::OrderedJson& reference,
                                 const std::string& path);

/// Whether the schema says more than `keyword` and annotations.
bool has_constraints_beside(const file::OrderedJson& schema, const std::string& keyword);
file::OrderedJson without(const file::OrderedJson& schema, const std::string& keyword);

/// One schema that asks for both.
file::OrderedJson merged_schemas(SchemaDocument& document, const file::OrderedJson& a, const file::OrderedJson& b,
                                 const std::string& path);
/// The schema with its allOf worked in.
file::OrderedJson merged_all_of(SchemaDocument& document, const file::OrderedJson& schema, const std::string& path);

/// Whether no value can satisfy two of the schemas, as far as their types, constants and constant properties show.
bool mutually_exclusive(SchemaDocument& document, const file::OrderedJson& schemas, const std::string& path);

}  // namespace awq::grammar
