#pragma once

#include "kernels/cuda/w4_wgmma.h"

/// The form of the Hopper kernel for 65 to 256 tokens: three or four blocks share a tile of 192 rows of the weight and
/// 128 tokens, as in the split wide form. 64 rows are in each of three warpgroups: a warpgroup's own chain (expanding
/// codes, products, adding up a group) is longer than half of the tensor cores' time, and shorter than two thirds.
namespace awq::kernels::cuda {

inline constexpr std::int32_t kManyTokens = 128;
inline constexpr std::int32_t kManyWarpgroups = 3;
inline constexpr std::int32_t kManyRows = 64 * kManyWarpgroups;
inline constexpr std::int32_t kManySlabs = kManyRows / 16;

/// Shared memory of a block: a ring of activations of 64 inputs, one of steps of the weight with their two barriers,
/// the barriers of the activations.
struct ManyMemory {
  std::int32_t group_size = 0;
  static constexpr std::int32_t kHalves = 10;
  static constexpr std::int32_t kHalfBytes = kManyTokens * 128;  ///< a multiple of 1024: swizzled
  AWQ_HOST_DEVICE constexpr std::int32_t slab_bytes() const {
    return WgmmaMemory{kManyTokens, group_size}.slab_bytes();
  }
  AWQ_HOST_DEVICE constexpr std::int32_t weight_bytes() const { return kManySlabs * slab_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t step_bytes() const { return weight_bytes() + 16; }
  AWQ_HOST_DEVICE constexpr std::int32_t weight_full_at() const { return weight_bytes(); }  ///< in a step
  AWQ_HOST_DEVICE constexpr std::int32_t weight_empty_at() const { return weight_bytes() + 8; }
  AWQ_HOST_DEVICE constexpr std::int32_t weights_at() const { return kHalves * kHalfBytes; }
  /// As many as fit.
  AWQ_HOST_DEVICE constexpr std::int32_t steps() const {
    return (kHopperSharedBytes - weights_at() - 16 * kHalves) / step_bytes();
  }
  /// For each half 8 bytes that say it is full and 8 that say it is empty.
  AWQ_HOST_DEVICE constexpr std::int32_t half_barriers_at() const { return weights_at() + steps() * step_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t bytes() const { return half_barriers_at() + 16 * kHalves; }
};
static_assert(ManyMemory{32}.steps() >= 4);

/// Return a cudaError_t as a number.
int launch_many_f16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);
int launch_many_bf16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);

}  // namespace awq::kernels::cuda
