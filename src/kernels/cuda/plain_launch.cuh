#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/api/cuda_types.h"

/// Launches of kernels that start when everything before them in the stream is done, with one thread for each piece of
/// work, a warp for each, or a block for each.
namespace awq::kernels::cuda {

inline constexpr unsigned kPlainWarp = 32;
inline constexpr unsigned kPlainThreads = 256;
inline constexpr unsigned kAllLanes = 0xffffffffU;

template <class... Parameters, class... Arguments>
int enqueue(void (*kernel)(Parameters...), std::int64_t blocks, unsigned threads, Stream stream,
            const Arguments&... arguments) {
  if (blocks == 0) return 0;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(threads);
  config.stream = stream;
  return static_cast<int>(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

/// Blocks for `count` elements, a thread each.
inline std::int64_t element_blocks(std::int64_t count) { return (count + kPlainThreads - 1) / kPlainThreads; }
/// Blocks for `count` pieces of work, a warp each.
inline std::int64_t warp_blocks(std::int64_t count) {
  constexpr std::int64_t kWarps = kPlainThreads / kPlainWarp;
  return (count + kWarps - 1) / kWarps;
}

#ifdef __CUDACC__
/// The element of this thread, the piece of work of this warp, the place in it.
__device__ inline std::int64_t this_element() {
  return static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ inline std::int64_t this_warp() { return this_element() / kPlainWarp; }
__device__ inline int this_lane() { return static_cast<int>(threadIdx.x % kPlainWarp); }

/// Over the lanes of a warp; every lane gets it, the same for the same values in the same lanes.
template <class T>
__device__ inline T warp_sum(T value) {
  for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(kAllLanes, value, distance);
  return value;
}
__device__ inline float warp_min(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, distance);
    value = other < value ? other : value;
  }
  return value;
}
__device__ inline float warp_max(float value) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(kAllLanes, value, distance);
    value = other > value ? other : value;
  }
  return value;
}
#endif

}  // namespace awq::kernels::cuda
