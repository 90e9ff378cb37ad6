#pragma once

#include "kernels/cuda/w4_wgmma.h"

/// The wide form of the Hopper kernel, for up to 64 tokens at a time: one block per multiprocessor holds 256 rows of
/// the weight, 64 in each of four warpgroups. They share the activations of a stage and nothing else: while some wait
/// for products, others expand codes, in no fixed order.
namespace awq::kernels::cuda {

inline constexpr std::int32_t kWideRows = 256;
inline constexpr std::int32_t kWideWarpgroups = kWideRows / 64;

/// Shared memory of a block: the stages, each with activations, a step of two strips, and its two barriers; behind them
/// the sums of earlier leaves, where a block has several leaves to add (stripes).
struct WideMemory {
  std::int32_t tokens = 0, group_size = 0;
  bool split = false;
  AWQ_HOST_DEVICE constexpr std::int32_t slab_bytes() const { return WgmmaMemory{tokens, group_size}.slab_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t x_bytes() const { return WgmmaMemory{tokens, group_size}.x_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t strip_bytes() const { return 8 * slab_bytes(); }
  /// A multiple of 1024: the activations are swizzled.
  AWQ_HOST_DEVICE constexpr std::int32_t stage_bytes() const {
    return (x_bytes() + 2 * strip_bytes() + 16 + 1023) / 1024 * 1024;
  }
  AWQ_HOST_DEVICE constexpr std::int32_t full_at() const { return stage_bytes() - 16; }  ///< in a stage
  AWQ_HOST_DEVICE constexpr std::int32_t empty_at() const { return stage_bytes() - 8; }
  AWQ_HOST_DEVICE constexpr std::int32_t sum_bytes() const { return split ? 0 : tokens * kWideRows * 4; }
  /// As many as fit.
  AWQ_HOST_DEVICE constexpr std::int32_t stages() const { return (kHopperSharedBytes - sum_bytes()) / stage_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t sums_at() const { return stages() * stage_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t bytes() const { return sums_at() + sum_bytes(); }
};

/// Return a cudaError_t as a number. `launch.tokens`: 16, 32 or 64.
int launch_wide_f16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);
int launch_wide_bf16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);

}  // namespace awq::kernels::cuda
