#pragma once

#include "kernels/cuda/w4_many.h"
#include "kernels/cuda/w4_wgmma_fragments.cuh"

namespace awq::kernels::cuda {

using ManyHalves = StageRing<ManyMemory::kHalfBytes, ManyMemory::kHalves>;
template <int kGroup>
using ManyWeights = StageRing<ManyMemory{kGroup}.step_bytes(), ManyMemory{kGroup}.steps()>;

/// The barrier that a half is full; 8 bytes further the one that it is empty.
template <int kGroup>
__device__ __forceinline__ std::uint32_t many_half_full(std::uint32_t base, std::uint32_t half) {
  constexpr std::uint32_t kAt = ManyMemory{kGroup}.half_barriers_at();
  return base + kAt + half / (ManyMemory::kHalfBytes / 16);
}

}  // namespace awq::kernels::cuda
