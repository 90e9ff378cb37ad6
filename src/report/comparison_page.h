#pragma once

#include <string>

#include "awq/comparer.h"
#include "file/json.h"

namespace awq::report {

/// All methods on one model: `awq compare --report`.
std::string comparison_page(const Comparison& comparison);

/// One quantized model, from its awq_report.json and awq_run.json (`run` may be null): `awq quantize --report`.
/// Throws kCorruptFile, naming `file_name`, when the report is not one of this program's.
std::string quantization_page(const file::Json& report, const file::Json& run, const std::string& model_name,
                              const std::string& file_name);

}  // namespace awq::report
