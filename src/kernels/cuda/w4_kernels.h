#pragma once

#include <cstdint>

#include "kernels/api/cuda_linear.h"
#include "kernels/cuda/w4_choose.h"

/// The table of 4-bit kernels for NVIDIA devices. All rows that run on a device give the same bits.
namespace awq::kernels::cuda {

struct DeviceLimits {
  int capability = 0;  ///< of the code that runs there (code_capability()); 90: compute capability 9.0
  int multiprocessors = 0;
  int shared_bytes = 0;  ///< most dynamic shared memory of a block
};

/// Of the current device; all zeros where there is none.
DeviceLimits current_limits();

struct W4Kernel {
  const char* name;
  W4Choice choice;  ///< what w4_choose() looks for
  /// Null when the kernel can run the problem, else the reason in words.
  const char* (*objection)(const W4Problem& problem, const DeviceLimits& limits);
  /// Scratch for products of up to `m` rows.
  std::uint64_t (*workspace)(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits);
  int (*run)(const W4Problem& problem, const DeviceLimits& limits, Stream stream);
};

/// Ended by a row with a null name; the last ones run every problem on every device, but for BF16 before 8.0.
const W4Kernel* w4_kernels();
/// The row that is fastest for (n, k, m) on the device: a pure function of those, from the sweep in
/// docs/benchmarks-cuda.md.
int w4_choose(const W4Problem& problem, const DeviceLimits& limits);

/// Why no kernel of the tensor cores that every device has can run the problem, or null.
inline const char* tensor_core_objection(const W4Problem& problem, const DeviceLimits& limits) {
  if (limits.capability < 75) return "needs compute capability 7.5";
  if (problem.type == Half::kBf16 && limits.capability < 80) return "BF16 needs compute capability 8.0";
  return nullptr;
}

// Rows, by file.
const char* small_objection(const W4Problem& problem, const DeviceLimits& limits);
int small_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream);

const char* wgmma_objection(const W4Problem& problem, const DeviceLimits& limits);
std::uint64_t wgmma_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits);
/// `tokens` of a tile: 64, 128. `pairs` of blocks copy their tokens once for both.
int wgmma_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int tokens, bool pairs);

/// `tokens` of a tile: 16, 32, 64. `blocks` of a tile: 1 (stripes), 2, 4, 8.
const char* wide_objection(const W4Problem& problem, const DeviceLimits& limits, int tokens, int blocks);
std::uint64_t wide_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits, int tokens,
                             int blocks);
int wide_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int tokens, int blocks);

/// `blocks` of a tile of 128 tokens: 3, 4.
const char* many_objection(const W4Problem& problem, const DeviceLimits& limits, int blocks);
std::uint64_t many_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits, int blocks);
int many_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int blocks);

/// `tokens` of a tile: 8, 16, 32, 64. The counters at the front of the workspace are zero between launches.
const char* mma_objection(const W4Problem& problem, const DeviceLimits& limits, int tokens);
std::uint64_t mma_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits, int tokens);
int mma_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int tokens);

}  // namespace awq::kernels::cuda
