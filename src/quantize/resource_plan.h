#pragma once

#include <cstdint>
#include <string>

#include "awq/quantizer.h"
#include "model/model_files.h"
#include "ops/linear.h"
#include "quantize/output_plan.h"

namespace awq::quantize {

/// Tokens that go through a layer at a time during calibration.
inline constexpr std::int64_t kCalibrationChunk = 2048;

/// What a run will need, from shapes alone.
struct ResourcePlan {
  std::uint64_t peak_bytes = 0;  ///< resident memory
  std::uint64_t disk_bytes = 0;  ///< free space needed beside the output folder
  double operations = 0;         ///< multiply-adds, counted as two
};

/// `blocks` * `length` calibration tokens (0 blocks: plain rounding without calibration). `on_device`: passes and
/// searches are a device's.
ResourcePlan plan_resources(const model::ModelFiles& files, const OutputPlan& plan, std::int64_t blocks,
                            std::int64_t length, ops::Precision precision, const QuantizeOptions& options,
                            bool on_device = false);

/// Operations per second that dense products reach here when nothing else runs, from a measurement of about 100 ms.
double measure_speed(ops::Precision precision);

/// "0.3 MB", "1234 MB"
std::string megabytes(std::uint64_t bytes);

/// Throws kOutOfMemory (memory) or kIo (disk) when the plan does not fit.
void check_resources(const ResourcePlan& plan, const std::filesystem::path& output);

}  // namespace awq::quantize
