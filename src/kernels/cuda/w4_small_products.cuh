#pragma once

#include "kernels/cuda/w4_dequant.cuh"
#include "kernels/cuda/w4_small.h"

/// The products of the kernels for few tokens, which hold the tokens in shared memory.
namespace awq::kernels::cuda {

/// Where a lane's rows of matrices of up to eight tokens lie in shared memory: of every 64 inputs, `rows` (1, 2, 4 or
/// 8) rows of 128 bytes, their pieces of 16 bytes swizzled by the row. Where there are fewer than eight rows lanes read
/// them again, for columns that nobody reads.
struct SmallTokens {
  std::uint32_t low, high;  ///< of inputs 0-31 and 32-63 of the next step
  std::uint32_t stride;     ///< from 64 inputs to the next

  /// `at`: of the first step, a multiple of 1024.
  __device__ __forceinline__ SmallTokens(std::uint32_t at, int rows, int lane) {
    const int r = lane & 7 & (rows - 1);
    low = at + r * 128 + (((lane >> 3) ^ r) << 4);
    high = low ^ 64;
    stride = rows * 128;
  }
  __device__ __forceinline__ void advance(int steps) {
    low += 2 * steps * stride;
    high += 2 * steps * stride;
  }
};

/// Where a lane's part of a slab begins.
template <int kGroups>
struct SlabLane {
  std::uint32_t codes, scales, zeros;

  __device__ __forceinline__ explicit SlabLane(int lane)
      : codes(ptx::keep_value(lane * 16)),
        scales(ptx::keep_value(1024 + 4 * (lane >> 2))),
        zeros(ptx::keep_value(1024 + 32 * kGroups + (lane >> 2))) {}
};

/// Adds kCount steps of 128 inputs, whose slabs lie one behind the other from `slabs` on, to a lane's four sums of 16
/// rows and 8 tokens.
template <Half kType, int kGroup, int kCount>
__device__ __forceinline__ void small_products(std::uint32_t slabs, const SlabLane<128 / kGroup>& lane,
                                               const SmallTokens& tokens, float (&acc)[4]) {
  constexpr int kGroups = 128 / kGroup;
  constexpr int kStep = small_step_bytes(kGroups);
  const std::uint32_t codes_at = slabs + lane.codes;
  const std::uint32_t scales_at = slabs + lane.scales;
  const std::uint32_t zeros_at = slabs + lane.zeros;
  float product[kCount][4];
  ZeroConstants zero[kCount]{};
  float2 scale[kCount]{};
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    std::uint32_t x[kCount][2][4];
    uint4 codes[kCount];
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      ptx::load_matrices(tokens.low + (2 * u + h) * tokens.stride, x[u][0]);
      ptx::load_matrices(tokens.high + (2 * u + h) * tokens.stride, x[u][1]);
      codes[u] = ptx::load_shared_16(codes_at + u * kStep + h * 512);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int k = h * 64 + j * 16;
#pragma unroll
      for (int u = 0; u < kCount; ++u) {
        if (k % kGroup == 0) {
          zero[u] = zero_constants<kType>(ptx::load_shared_1(zeros_at + u * kStep + k / kGroup * 8));
          scale[u] = group_scales<kType>(ptx::load_shared_4(scales_at + u * kStep + k / kGroup * 32));
        }
        std::uint32_t a[4];
        expand_codes<kType>(word_of(codes[u], j), zero[u], a);
        const std::uint32_t b0 = x[u][j >> 1][2 * (j & 1)];
        const std::uint32_t b1 = x[u][j >> 1][2 * (j & 1) + 1];
        if (k % kGroup == 0) {
          ptx::mma<kType, true>(product[u], a, b0, b1);
        } else {
          ptx::mma<kType, false>(product[u], a, b0, b1);
        }
        if ((k + 16) % kGroup == 0) {
#pragma unroll
          for (int c = 0; c < 4; ++c) acc[c] = __fmaf_rn(c < 2 ? scale[u].x : scale[u].y, product[u][c], acc[c]);
        }
      }
    }
  }
}

}  // namespace awq::kernels::cuda
