#pragma once

#include "kernels/cuda/norm_row.cuh"
#include "kernels/cuda/silu.cuh"
#include "kernels/cuda/token_device.cuh"
#include "kernels/cuda/w4_chain.h"
#include "kernels/cuda/w4_slab_ring.cuh"
#include "kernels/cuda/w4_small_products.cuh"

/// Few tokens through several linears in one launch. Every block is on its multiprocessor from the first to the last,
/// and all wait for each other between linears; the rings of weights run ahead across linears meanwhile.
namespace awq::kernels::cuda {

/// Until all blocks have come to their barrier `barriers` of this launch: what they wrote before can be read after it.
__device__ __forceinline__ void wait_for_all_blocks(const ChainArgs& args, std::uint32_t barriers) {
  __syncthreads();
  if (threadIdx.x == 0) {
    ptx::add_release(args.arrived, 1);
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

/// Eight elements of a row of the hidden state and of the norm's weight.
struct ChainNormPiece {
  float4 x[2], weight[2];

  __device__ __forceinline__ ChainNormPiece(const ChainArgs& args, const ChainLink& link, int i, int r) {
    const bool exists = r < args.m && i * 8 < link.k;
    const auto* from = reinterpret_cast<const float4*>(args.hidden + static_cast<std::int64_t>(r) * link.k);
    const auto* norm = reinterpret_cast<const float4*>(link.norm);
#pragma unroll
    for (int u = 0; u < 2; ++u) {
      x[u] = exists ? from[2 * i + u] : make_float4(0, 0, 0, 0);
      weight[u] = exists ? norm[2 * i + u] : make_float4(0, 0, 0, 0);
    }
  }
};

/// half(x * weight / sqrt(mean(x^2) + eps)) of every row of the hidden state, as norm_kernel gives it. `scratch`: 17
/// numbers for each row.
template <Half kType>
__device__ __forceinline__ void norm_chain_tokens(const ChainArgs& args, const ChainLink& link,
                                                  const ChainTokens& tokens, float* scratch) {
  constexpr int kMostWarps = 16;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int threads = args.warps * 32;
  const int fours = link.k / 4;
  const int norm_block = norm_warps(fours);
  float* const factors = scratch + kMostWarps * args.rows;
  const int row_pieces = link.steps * 16;
  const int pieces = row_pieces << args.rows_log2;
  // A thread's first piece is on its way while the sums are made.
  const auto own = static_cast<int>(threadIdx.x);
  ChainNormPiece piece(args, link, own >> args.rows_log2, own < pieces ? own & (args.rows - 1) : args.m);

  // The warps of norm_kernel's block, whatever number this block has.
  for (int task = warp; task < args.m * norm_block; task += args.warps) {
    const int r = task / norm_block;
    const int w = task - r * norm_block;
    const auto* row = reinterpret_cast<const float4*>(args.hidden + static_cast<std::int64_t>(r) * link.k);
    float sum = 0;
    for (int first = w * 32 + lane; first < fours; first += 2 * norm_block * 32) {
      const int second = first + norm_block * 32;
      const float4 low = row[first];
      const float4 high = second < fours ? row[second] : make_float4(0, 0, 0, 0);
      sum = square_sum(low, sum);
      sum = square_sum(high, sum);  // of zeros: the same sum
    }
    sum = norm_warp_sum(sum);
    if (lane == 0) scratch[r * kMostWarps + w] = sum;
  }
  __syncthreads();
  if (warp < args.m) {
    const float sum = norm_warp_sum(lane < norm_block ? scratch[warp * kMostWarps + lane] : 0.0F);
    if (lane == 0) factors[warp] = norm_factor(sum, static_cast<float>(link.k), args.eps);
  }
  __syncthreads();
  for (int at = own; at < pieces; at += threads) {
    const int r = at & (args.rows - 1);
    const int i = at >> args.rows_log2;
    if (at != own) piece = ChainNormPiece(args, link, i, r);
    const float factor = r < args.m ? factors[r] : 0.0F;
    const uint2 low = norm_four<kType>(piece.x[0], factor, piece.weight[0]);
    const uint2 high = norm_four<kType>(piece.x[1], factor, piece.weight[1]);
    *tokens.piece(i, r) = make_uint4(low.x, low.y, high.x, high.y);
  }
}

/// What a warp fetches next: runs ahead of what it computes, across units and linears.
template <int kStreamStep>
struct ChainCursor {
  const std::uint8_t* from = nullptr;
  int link = 0, unit = 0;
  int steps_left = 0;  ///< of the unit; 0 when there is nothing left to fetch

  __device__ __forceinline__ void seek(const ChainArgs& args, int block, int warp) {
    for (; link < args.count; ++link, unit = warp) {
      const ChainLink& of = args.links[link];
      const ChainShare share(of, block);
      if (unit >= share.units) continue;
      const int leaf = unit & ((1 << of.leaves_log2) - 1);
      const int tile = share.tile(of, unit >> of.leaves_log2);
      const int first_step = of.leaf_begin(leaf);
      steps_left = of.leaf_begin(leaf + 1) - first_step;
      from = of.weight + (static_cast<std::int64_t>(tile >> 3) * of.steps + first_step) * kStreamStep +
             (tile & 7) * (kStreamStep / 8);
      unit += args.warps;
      return;
    }
    steps_left = 0;
  }
};

/// Brings a share of the norms' weights into the L2 cache, which other weights have flushed since the last token.
__device__ __forceinline__ void prefetch_chain_norms(const ChainArgs& args, int block) {
  constexpr int kLine = 32;  // numbers of 128 bytes
  for (int l = 0; l < args.count; ++l) {
    const ChainLink& link = args.links[l];
    for (int at = block * kLine; link.norm != nullptr && at < link.k; at += static_cast<int>(gridDim.x) * kLine) {
      ptx::prefetch_to_l2(link.norm + at);
    }
  }
}

/// What becomes of the sums of a block's units: leaves in their order, one output a thread and turn.
template <Half kType>
__device__ __forceinline__ void finish_chain_link(const ChainArgs& args, const ChainLink& link, const ChainShare& share,
                                                  const float* sums) {
  const int sum_floats = 16 << args.rows_log2;  // of a unit
  const auto result = [&](int local, int row, int token, int n) {
    const float* from = sums + ((local << link.leaves_log2) * 16 + row) * args.rows + token;
    float t = from[0];
    for (int i = 1; i < 1 << link.leaves_log2; ++i) t = __fadd_rn(t, from[i * sum_floats]);
    return ptx::to_half<kType>(__fadd_rn(t, link.bias != nullptr && n < link.n ? link.bias[n] : 0.0F));
  };
  const int pairs = link.pairs() ? 1 : 0;
  const int outputs = (share.tiles >> pairs) * 16 << args.rows_log2;
  for (int o = static_cast<int>(threadIdx.x); o < outputs; o += args.warps * 32) {
    const int row = o & 15;
    const int token = (o >> 4) & (args.rows - 1);
    const int local = o >> 4 >> args.rows_log2 << pairs;
    const int n = share.tile(link, local) * 16 + row;
    if (n >= link.n || token >= args.m) continue;
    const std::uint16_t y = result(local, row, token, n);
    if (link.output == ChainOutput::kAddToHidden) {
      float* const h = args.hidden + static_cast<std::int64_t>(token) * link.n + n;
      *h += widen_half<kType>(y);
    } else if (link.output == ChainOutput::kSiluProduct) {
      const float up = widen_half<kType>(result(local + 1, row, token, n + link.n / 2));
      link.to[static_cast<std::int64_t>(token) * (link.n / 2) + n] =
          ptx::to_half<kType>(silu_times(widen_half<kType>(y), up));
    } else {
      link.to[static_cast<std::int64_t>(token) * link.n + n] = y;
    }
  }
}

template <Half kType, int kGroup, int kDepth>
__global__ void __launch_bounds__(kChainMostWarps * 32, 1) w4_chain_kernel(const __grid_constant__ ChainArgs args) {
  if constexpr (ptx::kBeforeSm80) return;  // w4_chain_objection() says so
  AWQ_DYNAMIC_SHARED(shared, 128);
  constexpr int kGroups = 128 / kGroup;
  constexpr int kPair = small_pair(kGroups);
  constexpr int kSlots = kDepth / kPair;
  constexpr int kStep = small_step_bytes(kGroups);
  constexpr int kStreamStep = 8 * kStep;  // of a strip of 128 rows
  constexpr int kRingBytes = small_ring_bytes(kGroups, kDepth);
  const int lane = static_cast<int>(threadIdx.x) & 31;
  const int warp = static_cast<int>(threadIdx.x) >> 5;
  const int g = lane >> 2;
  const auto block = static_cast<int>(blockIdx.x);

  const ChainTokens tokens{shared, args.rows, args.rows_log2};
  std::uint8_t* const rings = shared + args.token_bytes;
  auto* const sums = reinterpret_cast<float*>(rings + args.warps * kRingBytes);
  SlabRing<kStep, kPair, kSlots> ring(ptx::shared_address(rings) + warp * kRingBytes, kSlots, lane);

  ChainCursor<kStreamStep> next;
  next.unit = warp;
  next.seek(args, block, warp);
  const auto fetch = [&] {
    ring.template fetch<kStreamStep>(next.from, next.steps_left < kPair ? next.steps_left : kPair);
    next.from += kPair * kStreamStep;
    next.steps_left -= kPair;
    if (next.steps_left <= 0) next.seek(args, block, warp);
  };
#pragma unroll 1
  for (int i = 0; i < kSlots - 1; ++i) fetch();
  if (threadIdx.x == 0) prefetch_chain_norms(args, block);

  ptx::wait_for_earlier_kernel();

  const SlabLane<kGroups> in_slab(lane);
  for (int l = 0; l < args.count; ++l) {
    const ChainLink& link = args.links[l];
    if (l > 0) wait_for_all_blocks(args, static_cast<std::uint32_t>(l));
    if (link.input == ChainInput::kNorm) {
      norm_chain_tokens<kType>(args, link, tokens, sums);
    } else {
      load_chain_tokens(args, link, tokens);
    }
    __syncthreads();
    if (l + 1 == args.count) ptx::let_next_kernel_start();

    const ChainShare share(link, block);
#pragma unroll 1
    for (int unit = warp; unit < share.units; unit += args.warps) {
      const int leaf = unit & ((1 << link.leaves_log2) - 1);
      const int first_step = link.leaf_begin(leaf);
      SmallTokens at(ptx::shared_address(tokens.at) + 2 * first_step * args.rows * 128, args.rows, lane);
      float acc[4] = {0.0F, 0.0F, 0.0F, 0.0F};
      const auto run = [&]<int kCount>() {
        const std::uint32_t slot = ring.wait();
        fetch();
        small_products<kType, kGroup, kCount>(slot, in_slab, at, acc);
        at.advance(kCount);
      };
      int s = link.leaf_begin(leaf + 1) - first_step;
#pragma unroll 1
      for (; s >= kPair; s -= kPair) run.template operator()<kPair>();
      if (kPair > 1 && s > 0) run.template operator()<1>();
      float* const own = sums + (unit * 16 << args.rows_log2);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int token = 2 * (lane & 3) + (c & 1);
        if (token < args.rows) own[(g + 8 * (c >> 1)) * args.rows + token] = acc[c];
      }
    }
    __syncthreads();
    finish_chain_link<kType>(args, link, share, sums);
  }
  // The last block leaves the counters as it found them: nobody waits at a barrier any more.
  if (threadIdx.x == 0 && atomicAdd(args.finished, 1U) == gridDim.x - 1) {
    *args.arrived = 0;
    *args.finished = 0;
  }
}

}  // namespace awq::kernels::cuda
