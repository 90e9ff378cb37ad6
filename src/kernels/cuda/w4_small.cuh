#pragma once

#include "kernels/cuda/w4_slab_ring.cuh"
#include "kernels/cuda/w4_small.h"
#include "kernels/cuda/w4_small_products.cuh"

/// Up to eight tokens: every warp streams 16 rows of one leaf through a ring of its own, without a barrier in the loop.
namespace awq::kernels::cuda {

template <Half kType, int kGroup>
__global__ void __launch_bounds__(kSmallMostWarps * 32, 1) w4_small_kernel(const __grid_constant__ SmallArgs args) {
  if constexpr (!ptx::kHasProducts<kType>) return;
  AWQ_DYNAMIC_SHARED(shared, 128);
  constexpr int kGroups = 128 / kGroup;
  constexpr int kPair = small_pair(kGroups);
  constexpr int kSlots = kSmallDepth / kPair;
  constexpr int kStep = small_step_bytes(kGroups);
  constexpr int kStreamStep = 8 * kStep;  // of a strip of 128 rows
  const int slots = ptx::ring_depth(kSlots, args.depth / kPair);
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int g = lane >> 2;
  const int leaf = warp % args.leaves;
  const int row_tile = warp / args.leaves;  // of 16 rows inside the block's tile
  const int row_tiles = args.warps / args.leaves;
  const int threads = args.warps * 32;
  const int first_step = w4_leaf_begin(leaf, args.steps, args.leaves);
  const int leaf_steps = w4_leaf_begin(leaf + 1, args.steps, args.leaves) - first_step;

  std::uint8_t* const tokens = shared;
  const int token_bytes = args.steps * 2 * args.rows * 128;
  const int ring_bytes = slots * (kPair * kStep + kSmallBarrierBytes);
  auto* const sums = reinterpret_cast<float*>(tokens + token_bytes + args.warps * ring_bytes);
  SlabRing<kStep, kPair, kSlots> ring(ptx::shared_address(tokens) + token_bytes + warp * ring_bytes, slots, lane);

  // What is fetched next: runs ahead of what is computed, across tiles.
  int next_tile = static_cast<int>(blockIdx.x);
  int steps_left = 0;
  const std::uint8_t* from = nullptr;
  const auto seek = [&] {
    // Behind the last rows of the weight there may be no memory: these warps read the last ones, and store nothing.
    const int last = (args.n - 1) >> 4;
    const int wanted = next_tile * row_tiles + row_tile;
    const int rows16 = wanted < last ? wanted : last;
    from = args.weight + (static_cast<std::int64_t>(rows16 >> 3) * args.steps + first_step) * kStreamStep +
           (rows16 & 7) * kStep;
    steps_left = next_tile < args.tiles ? leaf_steps : 0;
    next_tile += static_cast<int>(gridDim.x);
  };
  seek();
  const auto fetch = [&] {
    const int count = steps_left < kPair ? steps_left : kPair;
    ring.template fetch<kStreamStep>(from, count);
    from += kPair * kStreamStep;
    steps_left -= kPair;
    if (steps_left <= 0) seek();
  };
#pragma unroll
  for (int i = 0; i < kSlots - 1; ++i) {
    if (i < slots - 1) fetch();
  }

  ptx::wait_for_earlier_kernel();
  // Tokens in rows of 128 bytes per 64 inputs, 16-byte pieces swizzled by the row; rows that do not exist read zeros.
  // Several loads at a time: their latency is all that this kernel cannot hide.
  const int pieces = args.steps * 2 * args.rows * 8;
  for (int first = static_cast<int>(threadIdx.x); first < pieces; first += 4 * threads) {
    uint4 v[4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int i = first + u * threads;
      const int r = (i >> 3) & (args.rows - 1);
      const int k = ((i >> 3) >> args.rows_log2) * 64 + (i & 7) * 8;
      v[u] = make_uint4(0, 0, 0, 0);
      if (i < pieces && r < args.m && k < args.k) {
        v[u] = *reinterpret_cast<const uint4*>(args.x + static_cast<std::int64_t>(r) * args.k + k);
      }
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int i = first + u * threads;
      const int row = i >> 3;  // block of 64 inputs, then token
      if (i < pieces) {
        *reinterpret_cast<uint4*>(tokens + row * 128 + (((i & 7) ^ (row & (args.rows - 1))) << 4)) = v[u];
      }
    }
  }
  __syncthreads();
  // Not earlier: blocks of the next launch that only wait cost 1 to 2 us.
  ptx::let_next_kernel_start();

  int buffer = 0;
  float acc[4];
  const SmallTokens first_tokens(ptx::shared_address(tokens) + 2 * first_step * args.rows * 128, args.rows, lane);
  const SlabLane<kGroups> in_slab(lane);

  for (int tile = static_cast<int>(blockIdx.x); tile < args.tiles; tile += static_cast<int>(gridDim.x)) {
    acc[0] = acc[1] = acc[2] = acc[3] = 0.0F;
    SmallTokens at = first_tokens;
    const auto run = [&]<int kCount>() {
      const std::uint32_t slot = ring.wait();
      fetch();
      small_products<kType, kGroup, kCount>(slot, in_slab, at, acc);
      at.advance(kCount);
    };
    int s = leaf_steps;
#pragma unroll 1
    for (; s >= kPair; s -= kPair) run.template operator()<kPair>();
    if (kPair > 1 && s > 0) run.template operator()<1>();
    float* own = sums + buffer * (args.warps * 128) + warp * 128;
    *reinterpret_cast<float2*>(own + g * 8 + 2 * (lane & 3)) = make_float2(acc[0], acc[1]);
    *reinterpret_cast<float2*>(own + (g + 8) * 8 + 2 * (lane & 3)) = make_float2(acc[2], acc[3]);
    __syncthreads();
    // Leaves in their order.
    const int outputs = 16 * row_tiles * args.m;
    for (int o = static_cast<int>(threadIdx.x); o < outputs; o += threads) {
      const int row = o % (16 * row_tiles);
      const int token = o / (16 * row_tiles);
      const float* from_leaf =
          sums + buffer * (args.warps * 128) + (row >> 4) * args.leaves * 128 + (row & 15) * 8 + token;
      float t = from_leaf[0];
      for (int i = 1; i < args.leaves; ++i) t = __fadd_rn(t, from_leaf[i * 128]);
      const int n = tile * 16 * row_tiles + row;
      if (n < args.n) {
        t = __fadd_rn(t, args.bias != nullptr ? args.bias[n] : 0.0F);
        args.y[static_cast<std::int64_t>(token) * args.n + n] = ptx::to_half<kType>(t);
      }
    }
    buffer ^= 1;
  }
}

}  // namespace awq::kernels::cuda
