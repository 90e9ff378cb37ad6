#pragma once

#include "kernels/cuda/ptx.cuh"

/// Codes to fragments (docs/layouts/cuda-w4.md): code - zero point, exactly, as 16-bit floating point numbers.
namespace awq::kernels::cuda {

/// A zero point of two rows, twice in a word each, with the number that its code's bits are read as.
struct ZeroConstants {
  std::uint32_t low;   ///< row g
  std::uint32_t high;  ///< row g + 8
};

/// 0x6400 is 1024 in F16 and 0x5400 is 64, with steps of 1 and 1/16: or-ing a code into bits 0-3 or 4-7 adds it.
/// BF16 has room in bits 0-3 alone (0x4300 is 128 with steps of 1).
template <Half kType>
__device__ __forceinline__ ZeroConstants zero_constants(std::uint32_t byte) {
  if constexpr (kType == Half::kF16) {
    return {(byte & 0x0fU) * 0x10001U + 0x64006400U, (byte & 0xf0U) * 0x10001U + 0x54005400U};
  } else {
    return {(byte & 0x0fU) * 0x10001U + 0x43004300U, (byte >> 4) * 0x10001U + 0x43004300U};
  }
}

/// A word of codes to the A fragment of one 16 x 16 tile: a[h + 2 u] holds rows g + 8 h, columns 8 u + 2 t, + 1.
template <Half kType>
__device__ __forceinline__ void expand_codes(std::uint32_t word, const ZeroConstants& zero, std::uint32_t (&a)[4]) {
  if constexpr (kType == Half::kF16) {
    const std::uint32_t upper = word >> 8;
    a[0] = ptx::subtract_halves<kType>(ptx::and_or(word, 0x000f000fU, 0x64006400U), zero.low);
    a[1] = ptx::subtract_halves<kType>(ptx::and_or(word, 0x00f000f0U, 0x54005400U), zero.high);
    a[2] = ptx::subtract_halves<kType>(ptx::and_or(upper, 0x000f000fU, 0x64006400U), zero.low);
    a[3] = ptx::subtract_halves<kType>(ptx::and_or(upper, 0x00f000f0U, 0x54005400U), zero.high);
  } else {
    a[0] = ptx::subtract_halves<kType>(ptx::and_or(word, 0x000f000fU, 0x43004300U), zero.low);
    a[1] = ptx::subtract_halves<kType>(ptx::and_or(word >> 4, 0x000f000fU, 0x43004300U), zero.high);
    a[2] = ptx::subtract_halves<kType>(ptx::and_or(word >> 8, 0x000f000fU, 0x43004300U), zero.low);
    a[3] = ptx::subtract_halves<kType>(ptx::and_or(word >> 12, 0x000f000fU, 0x43004300U), zero.high);
  }
}

__device__ __forceinline__ std::uint32_t word_of(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

}  // namespace awq::kernels::cuda
