#pragma once

#include <cstdint>

#include "kernels/api/cuda_token.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"

/// What the kernels of cuda_token.h share: 16-bit numbers, choosing by their type.
namespace awq::kernels::cuda {

/// Two 16-bit numbers in one register; the lower one lies first in memory.
template <Half kType>
__device__ __forceinline__ float2 unpack_halves(std::uint32_t pair) {
  if constexpr (kType == Half::kF16) {
    return ptx::widen_f16(pair);
  } else {
    return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000U));
  }
}

template <Half kType>
__device__ __forceinline__ float widen_half(std::uint16_t bits) {
  return unpack_halves<kType>(bits).x;
}

/// Calls function.template operator()<type>() for the type.
template <class Function>
int for_half(Half type, Function&& function) {
  if (type == Half::kF16) return function.template operator()<Half::kF16>();
  return function.template operator()<Half::kBf16>();
}

/// The same for the type of the cache: function.template operator()<type, cache>().
template <class Function>
int for_half_and_cache(Half type, CacheType cache, Function&& function) {
  return for_half(type, [&]<Half kType>() {
    if (cache == CacheType::kE4M3) return function.template operator()<kType, CacheType::kE4M3>();
    if (cache == CacheType::kInt8) return function.template operator()<kType, CacheType::kInt8>();
    return function.template operator()<kType, CacheType::kHalf>();
  });
}

inline bool is_aligned(const void* pointer, std::size_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

}  // namespace awq::kernels::cuda
