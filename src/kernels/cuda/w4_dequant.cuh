#pragma once

#include "kernels/cuda/ptx.cuh"

/// Codes to fragments (docs/layouts/cuda-w4.md): code - zero point as 16-bit floating point numbers, in BF16 a 64th of
/// it; both exactly.
namespace awq::kernels::cuda {

/// A zero point of two rows, twice in a word each, as it is taken from codes.
struct ZeroConstants {
  std::uint32_t low;   ///< row g
  std::uint32_t high;  ///< row g + 8
};

// F16: 0x6400 is 1024 and 0x5400 is 64, with steps of 1 and 1/16: or-ing a code into bits 0-3 or 4-7 adds it, and one
// subtraction takes that number and the zero point away.
// BF16 has no room for that in bits 4-7. But its numbers below 2^-125 are their own bits times 2^-133, so that one
// multiply-add by 2^127 or, for codes in bits 4-7, 2^123 makes 64ths of both and takes the zero point away.
inline constexpr std::uint32_t kBf16Low = 0x7f007f00U;
inline constexpr std::uint32_t kBf16High = 0x7d007d00U;
inline constexpr std::uint32_t kBf16Signs = 0x80008000U;

template <Half kType>
__device__ __forceinline__ ZeroConstants zero_constants(std::uint32_t byte) {
  const std::uint32_t low = (byte & 0x0fU) * 0x10001U;
  const std::uint32_t high = (byte & 0xf0U) * 0x10001U;
  if constexpr (kType == Half::kF16) {
    return {low + 0x64006400U, high + 0x54005400U};
  } else {
    return {ptx::multiply_halves<kType>(low, kBf16Low | kBf16Signs),
            ptx::multiply_halves<kType>(high, kBf16High | kBf16Signs)};
  }
}

/// A word of codes to the A fragment of one 16 x 16 tile: a[h + 2 u] holds rows g + 8 h, columns 8 u + 2 t, + 1.
template <Half kType>
__device__ __forceinline__ void expand_codes(std::uint32_t word, const ZeroConstants& zero, std::uint32_t (&a)[4]) {
  const std::uint32_t upper = word >> 8;
  if constexpr (kType == Half::kF16) {
    a[0] = ptx::subtract_halves<kType>(ptx::and_or(word, 0x000f000fU, 0x64006400U), zero.low);
    a[1] = ptx::subtract_halves<kType>(ptx::and_or(word, 0x00f000f0U, 0x54005400U), zero.high);
    a[2] = ptx::subtract_halves<kType>(ptx::and_or(upper, 0x000f000fU, 0x64006400U), zero.low);
    a[3] = ptx::subtract_halves<kType>(ptx::and_or(upper, 0x00f000f0U, 0x54005400U), zero.high);
  } else {
    a[0] = ptx::multiply_add_halves<kType>(word & 0x000f000fU, kBf16Low, zero.low);
    a[1] = ptx::multiply_add_halves<kType>(word & 0x00f000f0U, kBf16High, zero.high);
    a[2] = ptx::multiply_add_halves<kType>(upper & 0x000f000fU, kBf16Low, zero.low);
    a[3] = ptx::multiply_add_halves<kType>(upper & 0x00f000f0U, kBf16High, zero.high);
  }
}

/// The scales of rows g and g + 8 from a word of the stream, times what fragments lack.
template <Half kType>
__device__ __forceinline__ float2 group_scales(std::uint32_t word) {
  const float2 scale = ptx::widen_f16(word);
  return kType == Half::kF16 ? scale : make_float2(64 * scale.x, 64 * scale.y);
}

__device__ __forceinline__ std::uint32_t word_of(const uint4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

}  // namespace awq::kernels::cuda
