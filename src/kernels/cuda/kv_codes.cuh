#pragma once

#include <cstdint>

#include "kernels/cuda/kv_layout.cuh"
#include "kernels/cuda/token_device.cuh"

/// E4M3 codes of keys and values as halves. A code's bits, shifted to where a half has its exponent, are the code times
/// a power of two that the bias of the exponents differs by, subnormal numbers included; that power and the scale are
/// one factor, and the product is exact (kernels/kv_scale.h). NaN comes through the factor: no code that is stored is
/// one.
namespace awq::kernels::cuda {

/// Devices of compute capability 8.9 and later have an instruction for F16, which needs no other factor.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
inline constexpr bool kConvertsCodes = true;
#else
inline constexpr bool kConvertsCodes = false;
#endif

/// What widen_codes() multiplies with, for two scales as stored.
template <Half kType>
__device__ __forceinline__ std::uint32_t code_factors(std::uint32_t scales) {
  if constexpr (kType == Half::kF16) {
    constexpr std::uint32_t kPower = 0x5c005c00;  // 2^8, twice
    if constexpr (kConvertsCodes) return scales;
    return ptx::multiply_halves<kType>(scales, kPower);
  } else {
    constexpr std::uint32_t kPower = 0x7b807b80;  // 2^120, twice
    return ptx::multiply_halves<kType>(scales, kPower);
  }
}

/// Even and odd bytes of a word of codes, times the factors, as two pairs of halves.
template <Half kType>
__device__ __forceinline__ void widen_codes(std::uint32_t codes, std::uint32_t factors, std::uint32_t& even,
                                            std::uint32_t& odd) {
  constexpr std::uint32_t kSigns = 0x80008000;
  if constexpr (kType == Half::kF16 && kConvertsCodes) {
    even = ptx::widen_e4m3(static_cast<std::uint16_t>((codes & 0xffU) | (codes >> 8 & 0xff00U)));
    odd = ptx::widen_e4m3(static_cast<std::uint16_t>((codes >> 8 & 0xffU) | (codes >> 16 & 0xff00U)));
  } else if constexpr (kType == Half::kF16) {
    constexpr std::uint32_t kMagnitudes = 0x3f803f80;
    even = ((codes << 7) & kMagnitudes) | ((codes << 8) & kSigns);
    odd = ((codes >> 1) & kMagnitudes) | (codes & kSigns);
  } else {
    constexpr std::uint32_t kMagnitudes = 0x07f007f0;
    even = ((codes << 4) & kMagnitudes) | ((codes << 8) & kSigns);
    odd = ((codes >> 4) & kMagnitudes) | (codes & kSigns);
  }
  even = ptx::multiply_halves<kType>(even, factors);
  odd = ptx::multiply_halves<kType>(odd, factors);
}

/// One code and its scale (as stored) in binary32.
template <Half kType>
__device__ __forceinline__ float widen_code(std::uint8_t code, std::uint16_t scale) {
  const std::uint32_t sign = static_cast<std::uint32_t>(code & 0x80U) << 24;
  const float magnitude = __uint_as_float((static_cast<std::uint32_t>(code & 0x7fU) << 20) | sign) * 0x1p120F;
  return magnitude * widen_half<kType>(scale);
}

/// A scale in both halves of a word.
__device__ __forceinline__ std::uint32_t twice(std::uint32_t half) { return (half & 0xffffU) * 0x10001U; }

}  // namespace awq::kernels::cuda
