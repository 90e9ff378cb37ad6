#pragma once

#include <cstdint>

#include "kernels/api/cuda_linear.h"

/// Which kernel is fastest for a shape: plain arithmetic on (n, k, m, device), so that it is the same everywhere and
/// can be read and tested without a device. Thresholds come from the sweep in docs/benchmarks-cuda.md. The bits of a
/// result do not depend on it.
namespace awq::kernels::cuda {

enum class W4Kind : std::uint8_t {
  kSmall,
  kWgmma,       ///< stripes of tiles of `tokens`
  kWgmmaPairs,  ///< the same with pairs of blocks
  kMma,         ///< tiles of `tokens`, for every device
  kWide,        ///< tiles of 256 rows and `tokens`; `blocks` 1: stripes, else so many per tile
  kMany,        ///< tiles of 192 rows and `tokens`, `blocks` per tile
};
struct W4Choice {
  W4Kind kind = W4Kind::kSmall;
  int tokens = 0;
  int blocks = 1;

  constexpr bool operator==(const W4Choice&) const = default;
};

/// For compute capability 9.0. `small_fits`: the tokens fit in a block's shared memory beside the rings of weights.
W4Choice hopper_choice(const W4Layout& layout, std::int64_t m, int multiprocessors, bool small_fits);

/// Whether expanding the weight and multiplying 16-bit matrices is faster than the kernels of the table for m tokens on
/// a device of `capability`: a prediction (docs/benchmarks-cuda.md, "Many tokens by way of a panel"), no measurement
/// yet.
bool panel_pays(const W4Layout& layout, std::int64_t m, int capability);

}  // namespace awq::kernels::cuda
