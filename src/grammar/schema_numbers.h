#pragma once

#include <string>

#include "file/json.h"
#include "grammar/json_rules.h"

namespace awq::grammar {

/// Numbers, or whole ones, within the bounds of a schema. Throws for bounds that a grammar cannot hold.
NodeId number_schema(JsonRules& rules, const file::OrderedJson& schema, bool integer, const std::string& path);

}  // namespace awq::grammar
