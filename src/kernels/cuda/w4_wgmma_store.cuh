#pragma once

#include "kernels/cuda/w4_wgmma_fragments.cuh"

namespace awq::kernels::cuda {

/// Rounds a tile of sums (in the order of the accumulators) and stores it: through shared memory, so that rows of y
/// leave in whole lines. `th` is the thread of the warpgroup; `scratch` has room for kTokens rows of 144 bytes and
/// belongs to this warpgroup.
template <int kTokens, Half kType>
__device__ __forceinline__ void wgmma_store(const WgmmaArgs& args, const float (&sum)[kTokens / 2], int row, int token,
                                            std::uint32_t scratch, int warpgroup, int th) {
  const int warp = th >> 5;
  const int lane = th & 31;
  const int n = row + warp * 16 + (lane >> 2);
  float bias_low = 0;
  float bias_high = 0;
  if (args.bias != nullptr) {
    if (n < args.n) bias_low = args.bias[n];
    if (n + 8 < args.n) bias_high = args.bias[n + 8];
  }
  warpgroup_barrier(warpgroup);  // nobody reads sums from the scratch any more
#pragma unroll
  for (int i = 0; i < kTokens / 8; i += 2) {
    std::uint32_t r[4];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int at = 4 * (i + j);
      r[2 * j] = ptx::pack_halves<kType>(__fadd_rn(sum[at], bias_low), __fadd_rn(sum[at + 1], bias_low));
      r[2 * j + 1] = ptx::pack_halves<kType>(__fadd_rn(sum[at + 2], bias_high), __fadd_rn(sum[at + 3], bias_high));
    }
    // Matrices: tokens 8 i, rows 0-7 and 8-15 of the warp, then tokens 8 (i + 1).
    const int tile = i + (lane >> 4);
    const std::uint32_t to = scratch + (8 * tile + (lane & 7)) * 144 + warp * 32 + ((lane >> 3) & 1) * 16;
    ptx::store_matrices_transposed(to, r[0], r[1], r[2], r[3]);
  }
  warpgroup_barrier(warpgroup);
  auto* y = static_cast<std::uint16_t*>(args.y);
  const bool whole = row + 64 <= args.n && (args.n & 7) == 0;
#pragma unroll
  for (int i = 0; i < kTokens / 16; ++i) {
    const int piece = i * 128 + th;
    const int t = piece >> 3;
    const int c = piece & 7;
    if (token + t >= args.m) continue;
    const uint4 v = ptx::load_shared_16(scratch + t * 144 + c * 16);
    std::uint16_t* to = y + static_cast<std::int64_t>(token + t) * args.n + row + c * 8;
    if (whole) {
      *reinterpret_cast<uint4*>(to) = v;
    } else {
      std::uint16_t h[8];
      memcpy(h, &v, 16);
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        if (row + c * 8 + e < args.n) to[e] = h[e];
      }
    }
  }
  warpgroup_barrier(warpgroup);  // before the scratch holds sums again
}

}  // namespace awq::kernels::cuda
