#pragma once

#include "kernels/cuda/w4_wgmma_fragments.cuh"
#include "kernels/cuda/w4_wide.h"

namespace awq::kernels::cuda {

/// The stage under way of the wide form: where it begins, and the parity that its barriers are waited with. Plain
/// arithmetic on constants, the same in all threads, so that the compiler can hold it in uniform registers.
template <int kTokens, int kGroup, bool kSplit>
struct WideRing {
  static constexpr WideMemory kMemory{kTokens, kGroup, kSplit};
  std::uint32_t at = 0;
  std::uint32_t parity = 0;
  __device__ __forceinline__ void advance() {
    at += kMemory.stage_bytes();
    if (at == kMemory.stages() * kMemory.stage_bytes()) {
      at = 0;
      parity ^= 1;
    }
  }
};

}  // namespace awq::kernels::cuda
