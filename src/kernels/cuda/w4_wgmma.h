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

inline constexpr std::int32_t kHopperSharedBytes = 232448;  ///< most of a block

/// Shared memory of a block: activations of all stages, codes of all stages, sums of earlier leaves, barriers.
struct WgmmaMemory {
  std::int32_t tokens = 0, group_size = 0;
  AWQ_HOST_DEVICE constexpr std::int32_t x_bytes() const { return tokens * 256; }
  AWQ_HOST_DEVICE constexpr std::int32_t slab_bytes() const { return (1024 + 40 * (128 / group_size) + 15) / 16 * 16; }
  AWQ_HOST_DEVICE constexpr std::int32_t weight_bytes() const { return 8 * slab_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t sum_bytes() const { return tokens * 512; }
  /// As many as fit.
  AWQ_HOST_DEVICE constexpr std::int32_t stages() const {
    return (kHopperSharedBytes - sum_bytes()) / (x_bytes() + weight_bytes() + 16);
  }
  AWQ_HOST_DEVICE constexpr std::int32_t weights_at() const { return stages() * x_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t sums_at() const { return weights_at() + stages() * weight_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t barriers_at() const { return sums_at() + sum_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t bytes() const { return barriers_at() + 16 * stages(); }
};

/// One launch.
struct WgmmaLaunch {
  WgmmaArgs args;
  Half type = Half::kBf16;
  std::int32_t tokens = 0;  ///< of a tile: 64 or 128; of the wide form 16, 32 or 64; of the one for many 128
  std::int32_t group_size = 128;
  std::int32_t blocks = 0;
};
/// Flags at the front of the workspace: two per block, up to 512 blocks, or in the wide form four.
inline constexpr std::uint64_t kWgmmaFlagBytes = 4096;
/// Why the device cannot run any form of the kernel, or null.
const char* wgmma_device_objection(const DeviceLimits& limits);
/// Boxes of 64 inputs x `tokens` rows of x [m, k]; outside of x they are filled with zeros.
bool wgmma_map(const W4Problem& problem, int tokens, CUtensorMap& map);
/// What does not depend on how blocks share the work.
WgmmaLaunch wgmma_launch(const W4Problem& problem, int tokens);

/// A tile of the forms in which several blocks may share one (wide, many).
struct WgmmaTile {
  std::int32_t tokens = 0, rows = 0;

  constexpr std::int64_t columns(const W4Layout& layout) const { return (layout.n + rows - 1) / rows; }
  constexpr std::int64_t tiles(const W4Layout& layout, std::int64_t m) const {
    return columns(layout) * ((m + tokens - 1) / tokens);
  }
  constexpr std::int32_t warpgroups() const { return rows / 64; }
};
/// Why `blocks` blocks cannot share each tile (1: stripes), or null.
const char* shared_tiles_objection(const W4Problem& problem, const DeviceLimits& limits, const WgmmaTile& tile,
                                   int blocks);
/// Flags, and the sums that blocks leave for each other.
std::uint64_t shared_tiles_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits,
                                     const WgmmaTile& tile, int blocks);
/// A launch that lacks the number of blocks in stripes.
WgmmaLaunch shared_tiles_launch(const W4Problem& problem, const WgmmaTile& tile, int blocks);

/// Return a cudaError_t as a number.
int launch_wgmma_f16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);
int launch_wgmma_bf16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);

}  // namespace awq::kernels::cuda
