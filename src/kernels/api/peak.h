#pragma once

#include <cstdint>

namespace awq::kernels {

/// A loop over registers alone: what a thread reaches at best in one arithmetic, and so the measure of a matrix
/// product.
struct PeakKernel {
  const char* name;
  const char* arithmetic;        ///< "fp32", "bf16" or "int8": the type of the factors
  std::uint8_t min_isa;          ///< the awq::Isa that the code needs, as a number
  bool needs_bf16;               ///< needs bf16 dot products on top of min_isa
  std::int64_t step_operations;  ///< multiplications and additions in one step
  /// Runs `steps` steps on the calling thread. The result depends on all of them, so that none can be left out.
  float (*run)(std::int64_t steps) noexcept;
};

/// All of them, ended by a row with a null name.
const PeakKernel* peak_kernels_cpu();

}  // namespace awq::kernels
