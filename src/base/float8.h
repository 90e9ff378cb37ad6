#pragma once

#include <cstdint>

#include "base/host_device.h"

namespace awq {

/// Eight-bit floating point with four exponent bits (bias 7) and three of mantissa, no infinity, NaN 0x7F and 0xFF:
/// "E4M3FN" of the OCP specification, F8_E4M3 in safetensors. The largest number is 448, the smallest 2^-9.
struct E4M3 {
  std::uint8_t bits = 0;
};

inline constexpr float kE4M3Max = 448.0F;

namespace float8 {
AWQ_HOST_DEVICE inline std::uint32_t bits_of(float value) {
  std::uint32_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}
AWQ_HOST_DEVICE inline float float_of(std::uint32_t bits) {
  float value = 0;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}
}  // namespace float8

AWQ_HOST_DEVICE inline float to_float(E4M3 value) {
  using float8::bits_of, float8::float_of;
  const std::uint32_t sign = static_cast<std::uint32_t>(value.bits & 0x80U) << 24;
  const std::uint32_t exponent = (value.bits >> 3) & 15U;
  const std::uint32_t mantissa = value.bits & 7U;
  if ((value.bits & 0x7FU) == 0x7FU) return float_of(sign | 0x7FC00000U);
  if (exponent == 0) {  // subnormal: mantissa * 2^-9
    return float_of(sign | bits_of(static_cast<float>(mantissa) * 0x1p-9F));
  }
  return float_of(sign | ((exponent + 120U) << 23) | (mantissa << 20));
}

/// Round to nearest, ties to even. What would round past 448 becomes NaN, as in the casts of the frameworks; quantizers
/// clamp before (saturated_e4m3).
AWQ_HOST_DEVICE inline E4M3 to_e4m3(float value) {
  using float8::bits_of, float8::float_of;
  const std::uint32_t bits = bits_of(value);
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80U);
  const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x43E80000U) return {static_cast<std::uint8_t>(sign | 0x7FU)};  // above 464, half way to 480
  if (magnitude < 0x3C800000U) {  // below 2^-6: adding 2^14 lets the processor round at bit 2^-9, ties to even
    const float shifted = float_of(magnitude) + 0x1p14F;
    return {static_cast<std::uint8_t>(sign | (bits_of(shifted) - 0x46800000U))};
  }
  const std::uint32_t rounded = magnitude + 0x7FFFFU + ((magnitude >> 20) & 1U);
  return {static_cast<std::uint8_t>(sign | ((rounded - 0x3C000000U) >> 20))};
}

/// The same with everything beyond 448 at 448.
AWQ_HOST_DEVICE inline E4M3 saturated_e4m3(float value) {
  return to_e4m3(value > kE4M3Max ? kE4M3Max : value < -kE4M3Max ? -kE4M3Max : value);
}

}  // namespace awq
