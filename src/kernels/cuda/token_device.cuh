#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstdint>

#include "kernels/cuda/launch.cuh"

/// What the kernels of cuda_token.h share: 16-bit numbers, the hooks of programmatic dependent launch.
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
