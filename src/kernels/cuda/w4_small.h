#pragma once

#include <cstdint>

#include "kernels/cuda/w4_stream.h"

/// Shape of the kernel for up to eight tokens. Without CUDA's headers: tests on a processor read it too.
namespace awq::kernels::cuda {

inline constexpr int kSmallMostWarps = 28;  ///< of a block, by registers
/// Steps of a warp's ring. Ten were no faster.
inline constexpr int kSmallDepth = 6;
/// The same where copies do not run beside the kernel: the two that are read and the two that are written.
inline constexpr int kSmallPlainDepth = 4;
constexpr int small_depth(int capability) { return capability >= 80 ? kSmallDepth : kSmallPlainDepth; }

struct SmallArgs {
  const std::uint8_t* weight = nullptr;
  const std::uint16_t* x = nullptr;  ///< [m, k]
  std::uint16_t* y = nullptr;        ///< [m, n]
  const float* bias = nullptr;
  std::int32_t n = 0, k = 0, m = 0;
  std::int32_t steps = 0, leaves = 0;
  std::int32_t rows = 1;  ///< of x that shared memory holds: 1, 2, 4 or 8
  std::int32_t rows_log2 = 0;
  std::int32_t warps = 8;  ///< of a block, a multiple of the leaves
  std::int32_t tiles = 0;  ///< of 16 * warps / leaves rows of the weight
  std::int32_t depth = kSmallDepth;
};

/// Bytes of a slab: 16 rows of a step of 1, 2 or 4 groups.
AWQ_HOST_DEVICE constexpr int small_step_bytes(int groups) { return (1024 + 40 * groups + 15) / 16 * 16; }
/// Steps that a warp takes at a time, so that their chains of products hide each other's latency; registers allow it
/// with one group.
AWQ_HOST_DEVICE constexpr int small_pair(int groups) { return groups == 1 ? 2 : 1; }
inline constexpr int kSmallBarrierBytes = 16;  ///< behind what a warp takes at a time (w4_slab_ring.cuh)
/// Bytes of a warp's ring of `depth` steps.
AWQ_HOST_DEVICE constexpr int small_ring_bytes(int groups, int depth) {
  return depth * small_step_bytes(groups) + depth / small_pair(groups) * kSmallBarrierBytes;
}
constexpr int small_token_rows(std::int64_t m) { return m <= 1 ? 1 : m <= 2 ? 2 : m <= 4 ? 4 : 8; }
/// Rings, two sets of the warps' sums, tokens.
constexpr std::int64_t small_shared_bytes(const W4Layout& layout, std::int64_t m, int warps, int depth = kSmallDepth) {
  return warps * (small_ring_bytes(static_cast<int>(layout.step_groups()), depth) + 2 * 16 * 8 * 4) +
         layout.steps() * 2 * small_token_rows(m) * 128;
}
/// Warps of a block: of as few rounds as fit, so many that all multiprocessors end a round at about the same time. In
/// a round every block takes a tile. 0 when not even one row of 16 fits.
constexpr int small_warps(const W4Layout& layout, std::int64_t m, int multiprocessors, int shared_bytes,
                          int depth = kSmallDepth) {
  const int leaves = w4_leaves(layout.k);
  std::int64_t fit = kSmallMostWarps / leaves;  // tiles of 16 rows of a block
  while (fit > 0 && small_shared_bytes(layout, m, static_cast<int>(fit) * leaves, depth) > shared_bytes) --fit;
  if (fit == 0) return 0;
  const std::int64_t tiles = (layout.n + 15) / 16;
  const std::int64_t rounds = (tiles + multiprocessors * fit - 1) / (multiprocessors * fit);
  return static_cast<int>((tiles + multiprocessors * rounds - 1) / (multiprocessors * rounds)) * leaves;
}

}  // namespace awq::kernels::cuda
