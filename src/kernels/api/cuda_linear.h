#pragma once

#include <cstdint>

#include "kernels/api/cuda_types.h"
#include "kernels/api/packed.h"

/// 4-bit linear layers on NVIDIA devices: y = x W^T (+ bias). One packed stream serves every kernel
/// (docs/layouts/cuda-w4.md). All kernels of an architecture compute the sequence of operations that
/// docs/numerics.md ("On NVIDIA devices") fixes, which depends on K alone: a row of y has the same bits whatever M, N,
/// the kernel or the number of multiprocessors.
namespace awq::kernels::cuda {

/// Compute capability of the code in this build that a device of `capability` runs (75 is 7.5); 0: there is none.
int built_capability(int capability);
/// Why the current device cannot compute in `type`, or null: BF16 needs compute capability 8.0.
const char* type_objection(Half type);

/// Shape of a packed weight. N is padded to 128 rows, K to 128 inputs.
struct W4Layout {
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t group_size = 128;  ///< 32, 64, a multiple of 128 or k; over 128 the scale repeats every 128 inputs

  constexpr std::int64_t strips() const { return (n + 127) / 128; }  ///< of 128 rows
  constexpr std::int64_t steps() const { return (k + 127) / 128; }   ///< of 128 inputs
  /// Groups inside a step. One where a single group spans a K below 128.
  constexpr std::int64_t step_groups() const { return group_size == 32 ? 4 : group_size == 64 ? 2 : 1; }
  /// 16 rows of a step: 1024 bytes of codes, 32 of scales per group, 8 of zero points per group, padded to 16.
  constexpr std::int64_t slab_bytes() const { return (1024 + 40 * step_groups() + 15) / 16 * 16; }
  constexpr std::int64_t step_bytes() const { return 8 * slab_bytes(); }
  constexpr std::int64_t strip_bytes() const { return steps() * step_bytes(); }
  constexpr std::int64_t bytes() const { return strips() * strip_bytes(); }
};
/// Why this layout cannot be packed, or null.
const char* w4_objection(std::int64_t n, std::int64_t k, std::int64_t group_size, const float* scales,
                         std::int64_t scale_count);
/// Writes strip `strip` (strip_bytes()) of the stream. Scales have to be F16 numbers.
void w4_pack_strip(const W4Layout& layout, const PackSource& source, std::int64_t strip, std::uint8_t* to);

struct W4Problem {
  W4Layout layout;
  Half type = Half::kBf16;
  const void* weight = nullptr;  ///< the packed stream, aligned to 128 bytes
  const float* bias = nullptr;   ///< [n] or null
  const void* x = nullptr;       ///< [m, k] half, aligned to 16 bytes, rows contiguous (k a multiple of 8)
  void* y = nullptr;             ///< [m, n] half
  std::int64_t m = 0;
  void* workspace = nullptr;  ///< w4_workspace_bytes(), or null where that is 0
};
/// What a result may differ from the product in binary64 by, as a part of the Frobenius norm: the rounding of the
/// result and little else (docs/numerics.md, "On NVIDIA devices").
constexpr double w4_tolerance(Half type) { return type == Half::kF16 ? 4e-4 : 3e-3; }
/// Scratch that any kernel needs for products of up to `m` rows on the current device.
std::uint64_t w4_workspace_bytes(const W4Layout& layout, std::int64_t m);
/// Enqueues the product with the kernel that the table prefers, or `kernel` (an index of w4_kernel_names()).
/// Returns a cudaError_t as a number. Allocates nothing; can be captured in a graph.
int w4_linear(const W4Problem& problem, Stream stream, int kernel = -1);
/// Names of the kernels of the table, ended by null.
const char* const* w4_kernel_names();
/// Why kernel `index` cannot run this problem on the current device, or null.
const char* w4_kernel_objection(const W4Problem& problem, int index);
/// Index of the kernel that w4_linear() takes.
int w4_choice(const W4Problem& problem);

// Many tokens by way of a panel: the weight is expanded to 16 bits once, then a product of 16-bit matrices
// (device/dense_product.h) does the rest. Faster than w4_linear() from some number of tokens on, but a row of y has
// other bits, which depend on the number of rows: only for those who ask for it.

/// Bytes of a panel: the weight [n, k], then a bias [n].
constexpr std::uint64_t w4_panel_bytes(const W4Layout& layout) {
  return static_cast<std::uint64_t>(layout.n) * static_cast<std::uint64_t>(layout.k + 1) * 2;
}
/// Enqueues the expansion of a packed stream: half(scale (code - zero point)), rounded once, row-major [n, k], and
/// behind it the bias (null: nothing) rounded to half. `panel` is aligned to 16 bytes.
int w4_expand(const W4Layout& layout, Half type, const void* weight, const float* bias, void* panel, Stream stream);
/// True when expansion and product are expected to take less time than w4_linear() for m tokens on the current device;
/// once true, true for all larger m. (docs/benchmarks-cuda.md, "Many tokens by way of a panel")
bool w4_panel_pays(const W4Layout& layout, std::int64_t m);
/// As w4_tolerance(), for products by way of a panel: the rounding of the weights comes to that of the result.
constexpr double w4_panel_tolerance(Half type) { return type == Half::kF16 ? 6e-4 : 5e-3; }

/// y = x W^T (+ bias) for a 16-bit weight [n, k] row-major, in one order of sums that depends on K alone, so that a row
/// does not depend on the batch; y in binary32 [m, n]. For the output matrix. k a multiple of 8.
struct DenseProblem {
  Half type = Half::kBf16;
  const void* weight = nullptr;
  const float* bias = nullptr;
  const void* x = nullptr;
  float* y = nullptr;
  std::int64_t m = 0, n = 0, k = 0;
};
int dense_linear(const DenseProblem& problem, Stream stream);

}  // namespace awq::kernels::cuda
