#pragma once

#include "kernels/cuda/norm_row.cuh"
#include "kernels/cuda/silu.cuh"
#include "kernels/cuda/token_device.cuh"
#include "kernels/cuda/w4_chain.h"
#include "kernels/cuda/w4_small_products.cuh"

/// Few tokens through several linears in one launch. Every block is on its multiprocessor from the first to the last,
/// and all wait for each other between linears; the rings of weights run ahead across linears meanwhile.
namespace awq::kernels::cuda {

/// Until all blocks have come to their barrier `barriers` of this launch: what they wrote before can be read after it.
__device__ __forceinline__ void wait_for_all_blocks(const ChainArgs& args, std::uint32_t barriers) {
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(args.arrived, 1U);
    while (ptx::load_acquire(args.arrived) < barriers * gridDim.x) {
    }
  }
  __syncthreads();
}

/// The tokens of a linear, in shared memory as the products want them: 64 inputs of a token in 128 bytes, pieces of 16
/// bytes swizzled by the token.
struct ChainTokens {
  std::uint8_t* at;
  int rows, rows_log2;

  /// The piece of inputs 8 i to 8 i + 7 of token r.
  __device__ __forceinline__ uint4* piece(int i, int r) const {
    const int row = ((i >> 3) << rows_log2) + r;
    return reinterpret_cast<uint4*>(at + row * 128 + (((i & 7) ^ (row & (rows - 1))) << 4));
  }
};

/// [m, k] halves that other blocks may just have written; inputs and tokens that do not exist are zeros.
__device__ __forceinline__ void load_chain_tokens(const ChainArgs& args, const ChainLink& link,
                                                  const ChainTokens& tokens) {
  const int pieces = link.steps * 16 << args.rows_log2;
  const int threads = args.warps * 32;
  for (int first = static_cast<int>(threadIdx.x); first < pieces; first += 4 * threads) {
    uint4 v[4];
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int at = first + u * threads;
      const int r = at & (args.rows - 1);
      const int k = (at >> args.rows_log2) * 8;
      v[u] = make_uint4(0, 0, 0, 0);
      if (at < pieces && r < args.m && k < link.k) {
        v[u] = *reinterpret_cast<const uint4*>(link.from + static_cast<std::int64_t>(r) * link.k + k);
      }
    }
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const int at = first + u * threads;
      if (at < pieces) *tokens.piece(at >> args.rows_log2, at & (args.rows - 1)) = v[u];
    }
  }
}

/// half(x * weight / sqrt(mean(x^2) + eps)) of every row of the hidden state, as norm_kernel gives it.
template <Half kType>
__device__ __forceinline__ void norm_chain_tokens(const ChainArgs& args, const ChainLink& link,
                                                  const ChainTokens& tokens, float* warp_sums) {
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int fours = link.k / 4;
  const NormThreads plan = norm_threads(fours);
  for (int r = 0; r < args.rows; ++r) {
    const bool exists = r < args.m;
    const auto* row = reinterpret_cast<const float4*>(args.hidden + static_cast<std::int64_t>(r) * link.k);
    // The warps of norm_kernel's block, whatever number this block has.
    for (int w = warp; exists && w < plan.warps; w += args.warps) {
      float sum = 0;
      for (int i = w * 32 + lane; i < fours; i += plan.warps * 32) sum = square_sum(row[i], sum);
      sum = norm_warp_sum(sum);
      if (lane == 0) warp_sums[w] = sum;
    }
    __syncthreads();
    const float factor = exists ? norm_factor(norm_warp_sum(lane < plan.warps ? warp_sums[lane] : 0.0F),
                                              static_cast<float>(link.k), args.eps)
                                : 0.0F;
    for (int i = static_cast<int>(threadIdx.x); i < link.steps * 16; i += args.warps * 32) {
      uint4 halves = make_uint4(0, 0, 0, 0);
      if (exists && i * 8 < link.k) {
        const uint2 low = norm_four<kType>(row[2 * i], factor, link.norm + i * 8);
        const uint2 high = norm_four<kType>(row[2 * i + 1], factor, link.norm + i * 8 + 4);
        halves = make_uint4(low.x, low.y, high.x, high.y);
      }
      *tokens.piece(i, r) = halves;
    }
    __syncthreads();  // the sums are written again for the next row
  }
}

/// What a warp fetches next: runs ahead of what it computes, across rounds and linears.
struct ChainCursor {
  const std::uint8_t* from = nullptr;
  int link = 0, round = -1, steps_left = 0;
};

template <Half kType, int kGroup, int kDepth>
__global__ void __launch_bounds__(kChainMostWarps * 32, 1) w4_chain_kernel(const __grid_constant__ ChainArgs args) {
  if constexpr (ptx::kBeforeSm80) return;  // w4_chain_objection() says so
  AWQ_DYNAMIC_SHARED(shared, 128);
  constexpr int kPair = kGroup == 128 && kDepth > 4 ? 2 : 1;  // steps at a time: their products hide each other
  constexpr int kStep = small_step_bytes(128 / kGroup);
  constexpr int kStreamStep = 8 * kStep;  // of a strip of 128 rows
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int g = lane >> 2;
  const int threads = args.warps * 32;
  const auto block = static_cast<int>(blockIdx.x);
  const auto blocks = static_cast<int>(gridDim.x);

  const std::uint32_t ring = ptx::keep_value(ptx::shared_address(shared) + warp * kDepth * kStep);
  const std::uint32_t ring_lane = ptx::keep_value(ring + lane * 16);
  const ChainTokens tokens{shared + args.warps * kDepth * kStep, args.rows, args.rows_log2};
  std::uint8_t* const zeros = tokens.at + args.token_bytes - 128;
  auto* const sums = reinterpret_cast<float*>(tokens.at + args.token_bytes);
  const int sum_floats = 16 * args.rows;  // of a warp
  float* const warp_sums = sums + 2 * args.warps * sum_floats;

  ChainCursor next;
  // The first step of the warp's next run of steps; false when there is none.
  const auto seek = [&] {
    for (;;) {
      const ChainLink& link = args.links[next.link];
      const ChainShare share(link, args.warps, block, blocks);
      if (++next.round >= share.rounds) {
        if (++next.link == args.count) return;
        next.round = -1;
        continue;
      }
      const int local = next.round * link.round_tiles(args.warps) + warp / link.leaves;
      if (warp / link.leaves >= link.round_tiles(args.warps) || local >= share.tiles) continue;
      const int leaf = warp % link.leaves;
      const int first_step = w4_leaf_begin(leaf, link.steps, link.leaves);
      const int tile = share.tile(link, local);
      next.steps_left = w4_leaf_begin(leaf + 1, link.steps, link.leaves) - first_step;
      next.from = link.weight + (static_cast<std::int64_t>(tile >> 3) * link.steps + first_step) * kStreamStep +
                  (tile & 7) * kStep + lane * 16;
      return;
    }
  };
  seek();
  const auto fetch = [&](int slot) {
    if (next.link < args.count) {
      const std::uint32_t to = ring_lane + slot * kStep;
      ptx::copy_async(to, next.from);
      ptx::copy_async(to + 512, next.from + 512);
      if (lane < (kStep - 1024) / 16) ptx::copy_async(to + 1024, next.from + 1024);
      next.from += kStreamStep;
      if (--next.steps_left == 0) seek();
    }
    ptx::copy_commit();
  };
#pragma unroll
  for (int i = 0; i < kDepth - kPair; ++i) fetch(i);
  if (threadIdx.x < 8) reinterpret_cast<uint4*>(zeros)[threadIdx.x] = make_uint4(0, 0, 0, 0);

  ptx::wait_for_earlier_kernel();

  const int r8 = lane & 7;
  const bool real = r8 < args.rows;
  const std::uint32_t stride = real ? args.rows * 128 : 0;  // from 64 inputs to the next
  SmallTokens lane_tokens{0, stride, static_cast<std::uint32_t>(((lane >> 3) ^ r8) << 4),
                          static_cast<std::uint32_t>(((4 + (lane >> 3)) ^ r8) << 4)};
  int slot = 0;
  int fill = kDepth - kPair;
  int buffer = 0;
  float acc[4];
  const auto run = [&]<int kCount>() {
    ptx::copy_wait<kDepth - kPair - kCount>();
    __syncwarp();
    std::uint32_t at[kCount];
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      fetch(fill);
      if (++fill == kDepth) fill = 0;
      at[u] = ring + slot * kStep;
      if (++slot == kDepth) slot = 0;
    }
    small_products<kType, kGroup>(at, lane_tokens, lane, acc);
    lane_tokens.at += 2 * kCount * stride;
  };

  for (int l = 0; l < args.count; ++l) {
    const ChainLink& link = args.links[l];
    if (l > 0) wait_for_all_blocks(args, static_cast<std::uint32_t>(l));
    if (link.input == ChainInput::kNorm) {
      norm_chain_tokens<kType>(args, link, tokens, warp_sums);
    } else {
      load_chain_tokens(args, link, tokens);
    }
    __syncthreads();
    if (l + 1 == args.count) ptx::let_next_kernel_start();

    const ChainShare share(link, args.warps, block, blocks);
    const int round_tiles = link.round_tiles(args.warps);
    const int leaf = warp % link.leaves;
    const int place = warp / link.leaves;  // among the tiles of a round
    const int first_step = w4_leaf_begin(leaf, link.steps, link.leaves);
    const int leaf_steps = w4_leaf_begin(leaf + 1, link.steps, link.leaves) - first_step;
    const std::uint32_t token_base =
        real ? ptx::shared_address(tokens.at) + (2 * first_step * args.rows + r8) * 128 : ptx::shared_address(zeros);
#pragma unroll 1
    for (int round = 0; round < share.rounds; ++round) {
      const int first = round * round_tiles;  // of the block's tiles
      const int here = share.tiles - first < round_tiles ? share.tiles - first : round_tiles;
      float* const round_sums = sums + buffer * (args.warps * sum_floats);
      if (place < here) {
        acc[0] = acc[1] = acc[2] = acc[3] = 0.0F;
        lane_tokens.at = token_base;
        int s = 0;
#pragma unroll 1
        for (; s + kPair <= leaf_steps; s += kPair) run.template operator()<kPair>();
        if (kPair > 1 && s < leaf_steps) run.template operator()<1>();
        float* own = round_sums + warp * sum_floats;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const int token = 2 * (lane & 3) + (c & 1);
          if (token < args.rows) own[(g + 8 * (c >> 1)) * args.rows + token] = acc[c];
        }
      }
      __syncthreads();
      // Leaves in their order.
      const auto result = [&](int local, int row, int token) {
        const float* from_leaf = round_sums + local * link.leaves * sum_floats + row * args.rows + token;
        float t = from_leaf[0];
        for (int i = 1; i < link.leaves; ++i) t = __fadd_rn(t, from_leaf[i * sum_floats]);
        const int n = share.tile(link, first + local) * 16 + row;
        return ptx::to_half<kType>(__fadd_rn(t, link.bias != nullptr && n < link.n ? link.bias[n] : 0.0F));
      };
      const int per_piece = link.pairs() ? 2 : 1;
      const int outputs = here / per_piece * 16 * args.m;
      for (int o = static_cast<int>(threadIdx.x); o < outputs; o += threads) {
        const int row = o & 15;
        const int token = (o >> 4) % args.m;
        const int local = (o >> 4) / args.m * per_piece;
        const int n = share.tile(link, first + local) * 16 + row;
        if (n >= link.n) continue;
        const std::uint16_t y = result(local, row, token);
        if (link.output == ChainOutput::kAddToHidden) {
          float* const h = args.hidden + static_cast<std::int64_t>(token) * link.n + n;
          *h += widen_half<kType>(y);
        } else if (link.output == ChainOutput::kSiluProduct) {
          const float up = widen_half<kType>(result(local + 1, row, token));
          link.to[static_cast<std::int64_t>(token) * (link.n / 2) + n] =
              ptx::to_half<kType>(silu_times(widen_half<kType>(y), up));
        } else {
          link.to[static_cast<std::int64_t>(token) * link.n + n] = y;
        }
      }
      buffer ^= 1;
    }
  }
  // The last block leaves the counters as it found them: nobody waits at a barrier any more.
  if (threadIdx.x == 0 && atomicAdd(args.finished, 1U) == gridDim.x - 1) {
    *args.arrived = 0;
    *args.finished = 0;
  }
}

}  // namespace awq::kernels::cuda
