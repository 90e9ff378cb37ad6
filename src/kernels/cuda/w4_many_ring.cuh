#pragma once

#include "kernels/cuda/w4_many.h"
#include "kernels/cuda/w4_wgmma_fragments.cuh"

namespace awq::kernels::cuda {

/// A place in a ring of kCount stages of kBytes, and the parity that its barriers are waited with. Plain arithmetic on
/// constants, the same in all threads, so that the compiler can hold it in uniform registers.
template <int kBytes, int kCount>
struct ManyRing {
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
using ManyHalves = ManyRing<ManyMemory::kHalfBytes, ManyMemory::kHalves>;
template <int kGroup>
using ManyWeights = ManyRing<ManyMemory{kGroup}.step_bytes(), ManyMemory{kGroup}.steps()>;

/// The barrier that a half is full; 8 bytes further the one that it is empty.
template <int kGroup>
__device__ __forceinline__ std::uint32_t many_half_full(std::uint32_t base, std::uint32_t half) {
  constexpr std::uint32_t kAt = ManyMemory{kGroup}.half_barriers_at();
  return base + kAt + half / (ManyMemory::kHalfBytes / 16);
}

}  // namespace awq::kernels::cuda
