#pragma once

#include <span>
#include <string>
#include <vector>

#include "awq/quantizer.h"

namespace awq::api {

/// One method of `awq compare`. A new one is a row in comparison_methods.cpp and nothing else.
struct MethodRow {
  const char* name;
  const char* summary;
  /// Sets what makes the method out of the options that all methods share; null: a GGUF recipe of that name, which is
  /// rounded in memory.
  void (*apply)(QuantizeOptions& options);
};

/// All rows in the order of the table.
std::vector<MethodRow> method_rows();
/// Rows of the given names, in their order; all rows for no names. Throws kInvalidArgument for another name or one
/// given twice.
std::vector<MethodRow> select_methods(const std::vector<std::string>& names);

}  // namespace awq::api
