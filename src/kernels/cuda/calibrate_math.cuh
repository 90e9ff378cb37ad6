#pragma once

#include "kernels/api/attention.h"
#include "kernels/cuda/search_group.cuh"

namespace awq::kernels::cuda::calibrate {

/// exp(x) for x <= 0, as kernels::exp_nonpositive() computes it.
__device__ inline float exp_below_zero(float x) {
  using namespace exp_constants;
  if (x < kLowest) return 0;
  const float shifted = fmaf(x, kLog2E, kMagic);
  const float n = shifted - kMagic;
  float r = fmaf(n, kMinusLn2High, x);
  r = fmaf(n, kMinusLn2Low, r);
  float p = fmaf(kC5, r, kC4);
  p = fmaf(p, r, kC3);
  p = fmaf(p, r, kC2);
  p = fmaf(p, r, kC1);
  p = fmaf(p, r, kC0);
  p = fmaf(p, r * r, r) + 1.0F;
  return __uint_as_float(__float_as_uint(p) + (static_cast<std::uint32_t>(static_cast<std::int32_t>(n)) << 23));
}

}  // namespace awq::kernels::cuda::calibrate
