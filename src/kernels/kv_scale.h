#pragma once

// The scale of keys or values that are cached as E4M3 codes: one for each token and head, a power of two, the same on a
// processor and on a device (docs/numerics.md, "Types of cached keys and values").

#include <cstdint>

#include "base/float8.h"
#include "base/host_device.h"

namespace awq::kernels {

/// Within these, code * scale is an exact number of F16 and of BF16.
inline constexpr int kLeastKvExponent = -14;
inline constexpr int kMostKvExponent = 7;

/// The smallest power of two, within the limits, that `most`, the largest magnitude of the row, is at most 448 times
/// of. NaN when `most` is not finite: it has to show in every result that reads the row.
AWQ_HOST_DEVICE inline float e4m3_row_scale(float most) {
  const std::uint32_t bits = float8::bits_of(most);
  if (bits >= 0x7F800000U) return float8::float_of(0x7FC00000U);
  constexpr std::uint32_t kMantissaOf448 = 0x600000;  // 448 = 1.75 * 2^8
  int exponent = static_cast<int>(bits >> 23) - 127 - 8 + ((bits & 0x7FFFFFU) > kMantissaOf448 ? 1 : 0);
  exponent = exponent < kLeastKvExponent ? kLeastKvExponent : exponent;
  exponent = exponent > kMostKvExponent ? kMostKvExponent : exponent;
  return float8::float_of(static_cast<std::uint32_t>(exponent + 127) << 23);
}

/// The code of a number in a row of this scale; a number beyond 448 * scale saturates. Dividing by a power of two is
/// exact, so the number is rounded once.
AWQ_HOST_DEVICE inline E4M3 e4m3_code(float value, float scale) {
  const std::uint32_t inverse = (254U << 23) - float8::bits_of(scale);
  return saturated_e4m3(value * float8::float_of(inverse));
}

}  // namespace awq::kernels
