#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/api/cuda_types.h"
#include "kernels/cuda/w4_kernels.h"
#include "kernels/cuda/w4_walk.h"

/// The kernel with Hopper's matrix instructions: one block holds 128 rows of the weight against up to 128 tokens.
namespace awq::kernels::cuda {

struct WgmmaArgs : WgmmaWork {
  const std::uint8_t* weight = nullptr;
  void* y = nullptr;
  const float* bias = nullptr;
  float4* partial = nullptr;       ///< [blocks, 2, kTokens / 8, 128] tiles handed on (stripes)
  std::uint32_t* ready = nullptr;  ///< [blocks, 2] flags, zero between launches
  std::int32_t n = 0, m = 0;
  std::int32_t steps = 0;  ///< of 128 inputs
};

/// Two blocks share a multiprocessor where the sums of a tile leave the registers for it.
AWQ_HOST_DEVICE constexpr bool wgmma_small(std::int32_t tokens) { return tokens <= 32; }
AWQ_HOST_DEVICE constexpr std::int32_t wgmma_blocks_together(std::int32_t tokens) {
  return wgmma_small(tokens) ? 2 : 1;
}
/// The two warpgroups take turns on the tensor cores, so that one expands codes while the other multiplies.
AWQ_HOST_DEVICE constexpr bool wgmma_turns(std::int32_t tokens, std::int32_t group_size) {
  return tokens >= 64 && group_size == 128;
}

/// Shared memory of a block: activations of all stages, codes of all stages, sums of leaves, barriers.
struct WgmmaMemory {
  std::int32_t tokens = 0, group_size = 0;
  bool cluster = false;  ///< holds the sums of several leaves
  AWQ_HOST_DEVICE constexpr std::int32_t x_bytes() const { return tokens * 256; }
  AWQ_HOST_DEVICE constexpr std::int32_t slab_bytes() const { return (1024 + 40 * (128 / group_size) + 15) / 16 * 16; }
  AWQ_HOST_DEVICE constexpr std::int32_t weight_bytes() const { return 8 * slab_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t sum_slots() const { return !cluster ? 1 : tokens == 32 ? 2 : 4; }
  AWQ_HOST_DEVICE constexpr std::int32_t sum_bytes() const { return tokens * 512; }
  AWQ_HOST_DEVICE constexpr std::int32_t most_bytes() const {
    return wgmma_small(tokens) ? (233472 / 2 - 1024) / 128 * 128 : 232448;
  }
  /// As many as fit, at most 16.
  AWQ_HOST_DEVICE constexpr std::int32_t stages() const {
    const std::int32_t fit = (most_bytes() - sum_slots() * sum_bytes()) / (x_bytes() + weight_bytes() + 16);
    return fit < 16 ? fit : 16;
  }
  AWQ_HOST_DEVICE constexpr std::int32_t weights_at() const { return stages() * x_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t sums_at() const { return weights_at() + stages() * weight_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t barriers_at() const { return sums_at() + sum_slots() * sum_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t bytes() const { return barriers_at() + 16 * stages(); }
};

/// One launch.
struct WgmmaLaunch {
  WgmmaArgs args;
  Half type = Half::kBf16;
  std::int32_t tokens = 0;  ///< of a tile: 8, 16, 32, 64, 128
  std::int32_t group_size = 128;
  std::int32_t blocks = 0;
};
/// Flags at the front of the workspace: two per block, up to 512 blocks, or four.
inline constexpr std::uint64_t kWgmmaFlagBytes = 4096;
/// Why the device cannot run any form of the kernel, or null.
const char* wgmma_device_objection(const DeviceLimits& limits);
/// Boxes of 64 inputs x `tokens` rows of x [m, k]; outside of x they are filled with zeros.
bool wgmma_map(const W4Problem& problem, int tokens, CUtensorMap& map);
/// What does not depend on how blocks share the work.
WgmmaLaunch wgmma_launch(const W4Problem& problem, int tokens);
/// Return a cudaError_t as a number.
int launch_wgmma_f16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);
int launch_wgmma_bf16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);

}  // namespace awq::kernels::cuda
