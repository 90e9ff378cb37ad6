#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/api/attention.h"

namespace awq::kernels::cuda {

/// exp_nonpositive() of kernels/api/attention.h; nothing is fused that it does not fuse.
__device__ __forceinline__ float exp_nonpositive_device(float x) {
  using namespace exp_constants;
  if (x < kLowest) return 0;
  const float n = __fsub_rn(__fmaf_rn(x, kLog2E, kMagic), kMagic);
  float r = __fmaf_rn(n, kMinusLn2High, x);
  r = __fmaf_rn(n, kMinusLn2Low, r);
  float p = __fmaf_rn(kC5, r, kC4);
  p = __fmaf_rn(p, r, kC3);
  p = __fmaf_rn(p, r, kC2);
  p = __fmaf_rn(p, r, kC1);
  p = __fmaf_rn(p, r, kC0);
  p = __fadd_rn(__fmaf_rn(p, __fmul_rn(r, r), r), 1.0F);
  return __uint_as_float(__float_as_uint(p) + (static_cast<std::uint32_t>(static_cast<std::int32_t>(n)) << 23));
}

}  // namespace awq::kernels::cuda
