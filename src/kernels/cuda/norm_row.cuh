#pragma once

#include "kernels/cuda/ptx.cuh"

/// RMS norm of a row, cut into threads the same way by every kernel that computes it: the bits of a sum depend on that.
/// Thread t of a block of norm_warps() warps sums fours of elements t, t + threads, ... in rising order.
namespace awq::kernels::cuda {

/// For rows of `fours` fours of elements. The width alone decides.
__host__ __device__ constexpr int norm_warps(std::int64_t fours) {
  return fours >= 512 ? 16 : static_cast<int>((fours + 31) / 32);
}

__device__ __forceinline__ float square_sum(float4 v, float sum) {
  sum = __fmaf_rn(v.x, v.x, sum);
  sum = __fmaf_rn(v.y, v.y, sum);
  sum = __fmaf_rn(v.z, v.z, sum);
  return __fmaf_rn(v.w, v.w, sum);
}
/// First of the threads of a warp, then of the sums of the block's warps, one a lane.
__device__ __forceinline__ float norm_warp_sum(float value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffU, value, distance);
  return value;
}
__device__ __forceinline__ float norm_factor(float sum, float width, float eps) { return rsqrtf(sum / width + eps); }

/// Four halves of the result.
template <Half kType>
__device__ __forceinline__ uint2 norm_four(float4 v, float factor, float4 w) {
  return make_uint2(ptx::pack_halves<kType>(v.x * factor * w.x, v.y * factor * w.y),
                    ptx::pack_halves<kType>(v.z * factor * w.z, v.w * factor * w.w));
}

}  // namespace awq::kernels::cuda
