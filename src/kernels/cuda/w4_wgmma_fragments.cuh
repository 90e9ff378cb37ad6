#pragma once

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/w4_dequant.cuh"
#include "kernels/cuda/w4_wgmma.h"

/// What producer and consumers of the Hopper kernel share: their place in the ring, codes as fragments.
namespace awq::kernels::cuda {

/// Codes of 128 inputs of this thread's two rows, as they are stored.
template <Half kType, int kGroup>
struct WgmmaCodes {
  static constexpr int kGroups = 128 / kGroup;
  uint4 codes[2];
  std::uint32_t zero[kGroups];   ///< byte of zero points
  std::uint32_t scale[kGroups];  ///< two F16

  /// `at` is this thread's first vector of codes, `record` the slab's scales.
  __device__ __forceinline__ void load(std::uint32_t at, std::uint32_t record, int g) {
    codes[0] = ptx::load_shared_16(at);
    codes[1] = ptx::load_shared_16(at + 512);
#pragma unroll
    for (int q = 0; q < kGroups; ++q) {
      scale[q] = ptx::load_shared_4(record + q * 32 + g * 4);
      zero[q] = ptx::load_shared_1(record + kGroups * 32 + q * 8 + g);
    }
  }
};

/// The same as A fragments.
template <Half kType, int kGroup>
struct WgmmaFragments {
  float2 scale[128 / kGroup];
  std::uint32_t a[8][4];

  /// Makes the fragments of group q.
  __device__ __forceinline__ void expand(const WgmmaCodes<kType, kGroup>& from, int q) {
    const ZeroConstants zero = zero_constants<kType>(from.zero[q]);
    scale[q] = group_scales<kType>(from.scale[q]);
#pragma unroll
    for (int j = q * (kGroup / 16); j < (q + 1) * (kGroup / 16); ++j) {
      expand_codes<kType>(word_of(from.codes[j >> 2], j & 3), zero, a[j]);
    }
  }
  __device__ __forceinline__ void keep(int q) {
#pragma unroll
    for (int j = q * (kGroup / 16); j < (q + 1) * (kGroup / 16); ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) ptx::keep(a[j][r]);
    }
  }
};

struct WgmmaRing {
  int stage = 0;
  std::uint32_t parity = 0;
  template <int kStages>
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

/// A place in a ring of kCount stages of kBytes, and the parity that its barriers are waited with. Plain arithmetic on
/// constants, the same in all threads, so that the compiler can hold it in uniform registers.
template <int kBytes, int kCount>
struct StageRing {
  std::uint32_t at = 0;
  std::uint32_t parity = 0;
  __device__ __forceinline__ void advance() {
    at += kBytes;
    if (at == kCount * kBytes) {
      at = 0;
      parity ^= 1;
    }
  }
};
/// Of the 128 threads of a warpgroup of consumers.
__device__ __forceinline__ void warpgroup_barrier(int warpgroup) { ptx::barrier_sync<128>(1 + warpgroup); }

}  // namespace awq::kernels::cuda
