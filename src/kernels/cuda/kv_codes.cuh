#pragma once

#include <cstdint>

#include "kernels/cuda/kv_layout.cuh"
#include "kernels/cuda/token_device.cuh"

/// Codes of keys and values as halves: half(code * scale), for E4M3 an exact product (kernels/kv_scale.h). NaN comes
/// through the scale: no code that is stored is one.
///
/// E4M3: a code's bits, shifted to where a half has its exponent, are the code times a power of two that the bias of
/// the exponents differs by, subnormal numbers included; that power and the scale are one factor. Int8: the code's bits
/// in the mantissa of a number whose last place is 1, less what they are too much.
namespace awq::kernels::cuda {

/// Devices of compute capability 8.9 and later have an instruction for F16, which needs no other factor.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 890
inline constexpr bool kConvertsCodes = true;
#else
inline constexpr bool kConvertsCodes = false;
#endif

/// What widen_codes() multiplies with, for two scales as stored.
template <Half kType, CacheType kCache>
__device__ __forceinline__ std::uint32_t code_factors(std::uint32_t scales) {
  if constexpr (kCache == CacheType::kInt8) {
    return scales;
  } else if constexpr (kType == Half::kF16) {
    constexpr std::uint32_t kPower = 0x5c005c00;  // 2^8, twice
    if constexpr (kConvertsCodes) return scales;
    return ptx::multiply_halves<kType>(scales, kPower);
  } else {
    constexpr std::uint32_t kPower = 0x7b807b80;  // 2^120, twice
    return ptx::multiply_halves<kType>(scales, kPower);
  }
}

/// Even and odd bytes of a word of codes, times the factors, as two pairs of halves.
template <Half kType, CacheType kCache>
__device__ __forceinline__ void widen_codes(std::uint32_t codes, std::uint32_t factors, std::uint32_t& even,
                                            std::uint32_t& odd) {
  constexpr std::uint32_t kSigns = 0x80008000;
  if constexpr (kCache == CacheType::kInt8 && kType == Half::kF16) {
    constexpr std::uint32_t k1024 = 0x64006400;
    constexpr std::uint32_t k1152 = 0x64806480;
    const std::uint32_t shifted = codes ^ 0x80808080U;  // code + 128
    even = ptx::subtract_halves<kType>((shifted & 0x00ff00ffU) | k1024, k1152);
    odd = ptx::subtract_halves<kType>(((shifted >> 8) & 0x00ff00ffU) | k1024, k1152);
  } else if constexpr (kCache == CacheType::kInt8) {
    // Seven bits of mantissa: what the sign bit stands for, 128, is in the number that is subtracted.
    constexpr std::uint32_t k128 = 0x43004300;
    const std::uint32_t upper = codes >> 8;
    even = ptx::subtract_halves<kType>((codes & 0x007f007fU) | k128, (codes & 0x00800080U) | k128);
    odd = ptx::subtract_halves<kType>((upper & 0x007f007fU) | k128, (upper & 0x00800080U) | k128);
  } else if constexpr (kType == Half::kF16 && kConvertsCodes) {
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

/// One code times its scale (as stored), as the number that widen_codes() gives.
template <Half kType, CacheType kCache>
__device__ __forceinline__ float widen_code(std::uint8_t code, std::uint16_t scale) {
  const float factor = widen_half<kType>(scale);
  if constexpr (kCache == CacheType::kInt8) {
    return widen_half<kType>(ptx::to_half<kType>(static_cast<float>(static_cast<std::int8_t>(code)) * factor));
  }
  const std::uint32_t sign = static_cast<std::uint32_t>(code & 0x80U) << 24;
  return __uint_as_float((static_cast<std::uint32_t>(code & 0x7fU) << 20) | sign) * 0x1p120F * factor;
}

/// A scale in both halves of a word.
__device__ __forceinline__ std::uint32_t twice(std::uint32_t half) { return (half & 0xffffU) * 0x10001U; }

}  // namespace awq::kernels::cuda
