#pragma once

#include <span>

#include "template/runtime.h"

namespace awq::templates {

/// One filter of the language.
struct FilterRow {
  const char* name;
  Value (*apply)(Runtime& runtime, const Value& input, const CallArgs& args);
};

/// The filters that work on sequences.
std::span<const FilterRow> sequence_filters();

/// value.a.b.0 for the path "a.b.0" or an index, as the `attribute` arguments of filters take it.
Value attribute_path(Runtime& runtime, Value value, const Value& path);

}  // namespace awq::templates
