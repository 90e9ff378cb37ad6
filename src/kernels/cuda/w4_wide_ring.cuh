#pragma once

#include "kernels/cuda/w4_wgmma_fragments.cuh"
#include "kernels/cuda/w4_wide.h"

namespace awq::kernels::cuda {

/// The stage under way of the wide form.
template <int kTokens, int kGroup, bool kSplit>
using WideRing =
    StageRing<WideMemory{kTokens, kGroup, kSplit}.stage_bytes(), WideMemory{kTokens, kGroup, kSplit}.stages()>;

}  // namespace awq::kernels::cuda
