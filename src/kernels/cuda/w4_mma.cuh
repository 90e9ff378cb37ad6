#pragma once

#include "kernels/cuda/w4_dequant.cuh"
#include "kernels/cuda/w4_mma.h"

namespace awq::kernels::cuda {

/// The instruction takes its count as a constant. Waiting for more than was asked is right as well.
__device__ __forceinline__ void mma_wait_for_copies(int pending) {
  switch (pending) {
    case 1:
      return ptx::copy_wait<1>();
    case 2:
      return ptx::copy_wait<2>();
    case 3:
      return ptx::copy_wait<3>();
    case 4:
      return ptx::copy_wait<4>();
    case 5:
      return ptx::copy_wait<5>();
    case 6:
      return ptx::copy_wait<6>();
    default:
      return ptx::copy_wait<0>();
  }
}

/// Warp w multiplies rows 16 w to 16 w + 15 of the strip with kBlocks blocks of 8 tokens.
template <Half kType, int kGroup, int kBlocks>
__global__ void __launch_bounds__(kMmaWarps * 32, kBlocks == 8 ? 1 : 2)
    w4_mma_kernel(const __grid_constant__ MmaArgs args) {
  if constexpr (!ptx::kHasProducts<kType>) return;
  AWQ_DYNAMIC_SHARED(shared, 128);
  constexpr MmaMemory kMemory{8 * kBlocks, kGroup};
  constexpr int kTokens = 8 * kBlocks;
  constexpr int kThreads = kMmaWarps * 32;
  constexpr int kStage = kMemory.stage_bytes();
  constexpr int kXBytes = kMemory.x_bytes();
  constexpr int kSlab = kMemory.slab_bytes();
  constexpr int kGroups = 128 / kGroup;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread & 31;
  const int warp = thread >> 5;
  const int g = lane >> 2;
  const MmaTile tile = mma_tile(static_cast<int>(blockIdx.x), args.strips, args.token_tiles);
  const int first_token = tile.token_tile * kTokens;
  int leaf = static_cast<int>(blockIdx.z) * args.leaves / args.parts;
  const int last_leaf = (static_cast<int>(blockIdx.z) + 1) * args.leaves / args.parts;
  int step = w4_leaf_begin(leaf, args.steps, args.leaves);
  const int last_step = w4_leaf_begin(last_leaf, args.steps, args.leaves);
  const std::uint32_t ring = ptx::shared_address(shared);
  const std::uint32_t ring_end = ring + args.stages * kStage;

  // What is fetched next.
  const std::uint8_t* weight_from =
      args.weight + (static_cast<std::int64_t>(tile.strip) * args.steps + step) * (8 * kSlab) + thread * 16;
  const int x_row = thread >> 4;
  const int x_piece = thread & 15;
  int x_input = step * 128 + x_piece * 8;
  const std::uint16_t* x_from = args.x + static_cast<std::int64_t>(first_token + x_row) * args.k + x_input;
  const std::int64_t x_pitch = static_cast<std::int64_t>(16) * args.k;
  const int x_rows_left = args.m - first_token - x_row;
  const std::uint32_t x_to = kMemory.x_offset(x_row, x_piece);
  int next_step = step;

  const auto fetch_weight = [&](std::uint32_t stage) {
    const std::uint32_t to = stage + kXBytes + thread * 16;
    ptx::copy_async(to, weight_from);
    ptx::copy_async(to + kThreads * 16, weight_from + kThreads * 16);
    if (thread < 8 * kSlab / 16 - 2 * kThreads) ptx::copy_async(to + kThreads * 32, weight_from + kThreads * 32);
    weight_from += 8 * kSlab;
  };
  // Tokens and inputs that do not exist read zeros.
  const auto fetch_x = [&](std::uint32_t stage) {
    if (kBlocks > 1 || thread < kThreads / 2) {
#pragma unroll
      for (int u = 0; u < (kBlocks + 1) / 2; ++u) {
        ptx::copy_async(stage + x_to + u * 16 * 128, x_from + u * x_pitch,
                        16 * u < x_rows_left && x_input < args.k ? 16 : 0);
      }
    }
    x_from += 128;
    x_input += 128;
  };

  for (int i = 0; i < args.stages - 1 && step + i < last_step; ++i) fetch_weight(ring + i * kStage);
  ptx::wait_for_earlier_kernel();
  for (int i = 0; i < args.stages - 1; ++i) {
    if (next_step < last_step) {
      fetch_x(ring + i * kStage);
      ++next_step;
    }
    ptx::copy_commit();
  }
  std::uint32_t fill = ring_end - kStage;
  std::uint32_t stage = ring;

  // One block of tokens: matrices of 8 tokens x 32 inputs; else of 16 tokens x 16 inputs. The piece is the lane's for
  // the first inputs, xor twice (four times) the index of the 16 (32) inputs.
  const std::uint32_t x_lane = kBlocks == 1 ? kMemory.x_offset(lane & 7, lane >> 3)
                                            : kMemory.x_offset(8 * (lane >> 4) + (lane & 7), (lane >> 3) & 1);
  const std::uint32_t slab = kXBytes + warp * kSlab;

  float product[kBlocks][4];
  float acc[kBlocks][4];
  float total[kBlocks][4];
#pragma unroll
  for (int u = 0; u < kBlocks; ++u) {
#pragma unroll
    for (int c = 0; c < 4; ++c) acc[u][c] = total[u][c] = 0.0F;
  }
  int leaf_end = w4_leaf_begin(leaf + 1, args.steps, args.leaves);
  float4* const partial = reinterpret_cast<float4*>(args.partial) +
                          static_cast<std::int64_t>(blockIdx.x) * args.leaves * kBlocks * kThreads + thread;

#pragma unroll 1
  for (; step < last_step; ++step) {
    mma_wait_for_copies(args.stages - 2);
    __syncthreads();
    if (next_step < last_step) {
      fetch_weight(fill);
      fetch_x(fill);
      ++next_step;
    }
    ptx::copy_commit();
    fill += kStage;
    if (fill == ring_end) fill = ring;

    ZeroConstants zero{};
    float2 scale{};
    const std::uint32_t x_at = stage + x_lane;
    const std::uint32_t slab_at = stage + slab;
#pragma unroll(kGroup == 128 ? 2 : 1)
    for (int h = 0; h < 2; ++h) {
      const uint4 codes = ptx::load_shared_16(slab_at + lane * 16 + h * 512);
      std::uint32_t x[kBlocks > 1 ? kBlocks / 2 : 1][4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int k = h * 64 + j * 16;
        const bool group_begins = j * 16 % kGroup == 0 && (kGroup < 128 || h == 0);
        const bool group_ends = (j + 1) * 16 % (kGroup < 128 ? kGroup : 64) == 0 && (kGroup < 128 || h == 1);
        if (group_begins) {
          zero = zero_constants<kType>(ptx::load_shared_1(slab_at + 1024 + kGroups * 32 + k / kGroup * 8 + g));
          scale = group_scales<kType>(ptx::load_shared_4(slab_at + 1024 + k / kGroup * 32 + 4 * g));
        }
        if constexpr (kBlocks == 1) {
          if (j % 2 == 0) ptx::load_matrices((x_at ^ (j * 32)) + h * kTokens * 128, x[0]);
        } else {
#pragma unroll
          for (int u = 0; u < kBlocks / 2; ++u) {
            ptx::load_matrices((x_at ^ (j * 32)) + h * kTokens * 128 + u * 16 * 128, x[u]);
          }
        }
        std::uint32_t a[4];
        expand_codes<kType>(word_of(codes, j), zero, a);
#pragma unroll
        for (int u = 0; u < kBlocks; ++u) {
          const int pair = kBlocks == 1 ? j & 1 : u & 1;
          const std::uint32_t b0 = x[u / 2][2 * pair];
          const std::uint32_t b1 = x[u / 2][2 * pair + 1];
          if (group_begins) {
            ptx::mma<kType, true>(product[u], a, b0, b1);
          } else {
            ptx::mma<kType, false>(product[u], a, b0, b1);
          }
        }
        if (group_ends) {
#pragma unroll
          for (int u = 0; u < kBlocks; ++u) {
#pragma unroll
            for (int c = 0; c < 4; ++c) acc[u][c] = __fmaf_rn(c < 2 ? scale.x : scale.y, product[u][c], acc[u][c]);
          }
        }
      }
    }
    stage += kStage;
    if (stage == ring_end) stage = ring;

    if (step + 1 == leaf_end) {
#pragma unroll
      for (int u = 0; u < kBlocks; ++u) {
        if (args.parts > 1) {
          partial[(leaf * kBlocks + u) * kThreads] = make_float4(acc[u][0], acc[u][1], acc[u][2], acc[u][3]);
        }
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          total[u][c] = leaf == 0 ? acc[u][c] : __fadd_rn(total[u][c], acc[u][c]);
          acc[u][c] = 0.0F;
        }
      }
      ++leaf;
      leaf_end = w4_leaf_begin(leaf + 1, args.steps, args.leaves);
    }
  }
  ptx::let_next_kernel_start();
  ptx::copy_wait<0>();

  if (args.parts > 1) {
    // The block that comes last adds the leaves of all, its own included, in their order.
    __threadfence();
    __syncthreads();
    auto* const before = reinterpret_cast<std::uint32_t*>(shared + kTokens * MmaMemory::kResultPitch);
    if (thread == 0) *before = atomicAdd(args.arrived + blockIdx.x, 1U);
    __syncthreads();
    if (*before != static_cast<std::uint32_t>(args.parts) - 1) return;
    __threadfence();
    if (thread == 0) args.arrived[blockIdx.x] = 0;
    constexpr int kAhead = kBlocks <= 2 ? 8 : 2;  // leaves whose loads wait together; their number is even
#pragma unroll 1
    for (int i = 0; i < args.leaves; i += kAhead) {
      float4 v[kAhead][kBlocks];
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (i + a < args.leaves) {
#pragma unroll
          for (int u = 0; u < kBlocks; ++u) v[a][u] = __ldcg(partial + ((i + a) * kBlocks + u) * kThreads);
        }
      }
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (i + a < args.leaves) {
#pragma unroll
          for (int u = 0; u < kBlocks; ++u) {
            const bool first = i + a == 0;
            total[u][0] = first ? v[a][u].x : __fadd_rn(total[u][0], v[a][u].x);
            total[u][1] = first ? v[a][u].y : __fadd_rn(total[u][1], v[a][u].y);
            total[u][2] = first ? v[a][u].z : __fadd_rn(total[u][2], v[a][u].z);
            total[u][3] = first ? v[a][u].w : __fadd_rn(total[u][3], v[a][u].w);
          }
        }
      }
    }
  } else {
    __syncthreads();  // the ring is read no more
  }

  // Through shared memory, so that rows of y leave in pieces of 16 bytes.
  const int first_row = tile.strip * 128;
  const int row = warp * 16 + g;
  float bias[2] = {};
  if (args.bias != nullptr) {
    if (first_row + row < args.n) bias[0] = args.bias[first_row + row];
    if (first_row + row + 8 < args.n) bias[1] = args.bias[first_row + row + 8];
  }
#pragma unroll
  for (int u = 0; u < kBlocks; ++u) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const int token = u * 8 + 2 * (lane & 3) + (c & 1);
      *reinterpret_cast<std::uint16_t*>(shared + token * MmaMemory::kResultPitch + (row + (c >> 1) * 8) * 2) =
          ptx::to_half<kType>(__fadd_rn(total[u][c], bias[c >> 1]));
    }
  }
  __syncthreads();
  const bool whole_pieces = args.n % 8 == 0 && reinterpret_cast<std::uintptr_t>(args.y) % 16 == 0;
  for (int i = thread; i < kTokens * 16; i += kThreads) {
    const int token = i >> 4;
    const int at = first_row + (i & 15) * 8;
    if (first_token + token >= args.m || at >= args.n) continue;
    const std::uint8_t* from = shared + token * MmaMemory::kResultPitch + (i & 15) * 16;
    std::uint16_t* to = args.y + static_cast<std::int64_t>(first_token + token) * args.n + at;
    if (whole_pieces) {
      *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(from);
    } else {
      for (int e = 0; e < 8 && at + e < args.n; ++e) to[e] = reinterpret_cast<const std::uint16_t*>(from)[e];
    }
  }
}

}  // namespace awq::kernels::cuda
