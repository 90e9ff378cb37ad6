#pragma once

#include "file/json.h"
#include "template/value.h"

namespace awq::templates {

/// The value that a JSON document is in the language. Integers beyond 64 bits become floats.
Value from_json(const file::OrderedJson& json);

}  // namespace awq::templates
