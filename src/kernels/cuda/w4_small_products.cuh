#pragma once

#include "kernels/cuda/w4_dequant.cuh"

/// The products of the kernels for few tokens, which hold the tokens in shared memory.
namespace awq::kernels::cuda {

/// Where a lane's rows of matrices of up to eight tokens lie in shared memory: rows of 128 bytes for 64 inputs.
struct SmallTokens {
  std::uint32_t at;         ///< of the first 64 inputs of the step
  std::uint32_t stride;     ///< from 64 inputs to the next
  std::uint32_t low, high;  ///< offsets of the pieces of inputs 0-31 and 32-63
};

/// Adds kCount steps of 128 inputs to a lane's four sums of 16 rows and 8 tokens; `at` are the addresses of their
/// slabs.
template <Half kType, int kGroup, int kCount>
__device__ __forceinline__ void small_products(const std::uint32_t (&at)[kCount], const SmallTokens& tokens, int lane,
                                               float (&acc)[4]) {
  constexpr int kGroups = 128 / kGroup;
  const int g = lane >> 2;
  float product[kCount][4];
  ZeroConstants zero[kCount]{};
  float2 scale[kCount]{};
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    std::uint32_t x[kCount][2][4];
    uint4 codes[kCount];
#pragma unroll
    for (int u = 0; u < kCount; ++u) {
      ptx::load_matrices(tokens.at + (2 * u + h) * tokens.stride + tokens.low, x[u][0]);
      ptx::load_matrices(tokens.at + (2 * u + h) * tokens.stride + tokens.high, x[u][1]);
      codes[u] = ptx::load_shared_16(at[u] + lane * 16 + h * 512);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int k = h * 64 + j * 16;
#pragma unroll
      for (int u = 0; u < kCount; ++u) {
        if (k % kGroup == 0) {
          zero[u] = zero_constants<kType>(ptx::load_shared_1(at[u] + 1024 + kGroups * 32 + k / kGroup * 8 + g));
          scale[u] = ptx::widen_f16(ptx::load_shared_4(at[u] + 1024 + k / kGroup * 32 + 4 * g));
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
