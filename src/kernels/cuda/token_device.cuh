#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <atomic>
#include <cstdint>

#include "kernels/api/cuda_types.h"

/// What the kernels of cuda_token.h share: 16-bit numbers, the hooks of programmatic dependent launch, launching.
namespace awq::kernels::cuda {

/// Two 16-bit numbers in one register; the lower one lies first in memory.
template <Half kType>
__device__ __forceinline__ float2 unpack_halves(std::uint32_t pair) {
  if constexpr (kType == Half::kF16) {
    return __half22float2(*reinterpret_cast<const __half2*>(&pair));
  } else {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000U));
  }
}

template <Half kType>
__device__ __forceinline__ std::uint32_t pack_halves(float low, float high) {
  if constexpr (kType == Half::kF16) {
    const __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  } else {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const std::uint32_t*>(&pair);
  }
}

template <Half kType>
__device__ __forceinline__ float widen_half(std::uint16_t bits) {
  return unpack_halves<kType>(bits).x;
}

template <Half kType>
__device__ __forceinline__ std::uint16_t narrow_half(float value) {
  return static_cast<std::uint16_t>(pack_halves<kType>(value, 0.0F));
}

/// Waits until the kernels before this one have written everything, where it was started before their end.
__device__ __forceinline__ void wait_for_inputs() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Lets the next kernel start once all blocks have said so; it waits for the results by itself.
__device__ __forceinline__ void release_dependents() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Enqueues `kernel`; `cluster` blocks along x share their memory (1: no cluster).
template <class... Parameters, class... Arguments>
int launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, std::size_t shared_bytes, Stream stream,
           unsigned cluster, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return 0;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  cudaLaunchAttribute attributes[2] = {};
  unsigned count = 0;
  if (overlap_allowed()) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {cluster, 1, 1};
  }
  config.attrs = attributes;
  config.numAttrs = count;
  return static_cast<int>(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

/// Lets a kernel have `bytes` of shared memory on the current device; asks the driver once.
template <auto kKernel>
int allow_shared_bytes(int bytes) {
  static std::atomic<std::uint64_t> devices = 0;
  int device = 0;
  if (const cudaError_t error = cudaGetDevice(&device); error != cudaSuccess) return static_cast<int>(error);
  const std::uint64_t bit = device < 64 ? std::uint64_t{1} << device : 0;
  if ((devices.load() & bit) != 0) return 0;
  cudaError_t error = cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
  // Several blocks shall find room on a multiprocessor.
  if (error == cudaSuccess) {
    error =
        cudaFuncSetAttribute(kKernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  }
  if (error == cudaSuccess) devices.fetch_or(bit);
  return static_cast<int>(error);
}

/// Major compute capability of the current device; 0 when there is none.
inline int device_generation() {
  int device = 0;
  int major = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess) return 0;
  return major;
}

/// Calls function.template operator()<type>() for the type.
template <class Function>
int for_half(Half type, Function&& function) {
  if (type == Half::kF16) return function.template operator()<Half::kF16>();
  return function.template operator()<Half::kBf16>();
}

inline bool is_aligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

}  // namespace awq::kernels::cuda
