#include "base/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace awq {
namespace {

/// The value of a 16-bit pattern with `exponent_bits` and `mantissa_bits`, from the definition of IEEE 754.
double value_of(std::uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

/// Nearest 16-bit value by search: the pattern at or below |x| and the one above it, the even one on a tie.
std::uint16_t nearest(float x, int exponent_bits, int mantissa_bits) {
  const std::uint16_t sign = std::signbit(x) ? 0x8000U : 0U;
  const double magnitude = std::fabs(static_cast<double>(x));
  const int infinity = ((1 << exponent_bits) - 1) << mantissa_bits;
  int low = 0;
  int high = infinity;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (value_of(static_cast<std::uint16_t>(middle), exponent_bits, mantissa_bits) <= magnitude ? low : high) = middle;
  }
  const double below = value_of(static_cast<std::uint16_t>(low), exponent_bits, mantissa_bits);
  // The last step up is as wide as the one before: that decides what rounds to infinity.
  const double above = high == infinity
                           ? 2 * below - value_of(static_cast<std::uint16_t>(low - 1), exponent_bits, mantissa_bits)
                           : value_of(static_cast<std::uint16_t>(high), exponent_bits, mantissa_bits);
  const double to_low = magnitude - below;
  const double to_high = above - magnitude;
  const bool up = to_high < to_low || (to_high == to_low && low % 2 == 1);
  return static_cast<std::uint16_t>(sign | (up ? high : low));
}

/// Floats at and around everything where rounding changes: every 16-bit value, the middles between neighbours, and the
/// floats next to those; then random patterns.
std::vector<float> interesting_floats(int exponent_bits, int mantissa_bits) {
  std::vector<float> out;
  const auto with_neighbours = [&](float x) {
    for (const float y : {x, std::nextafter(x, 1e38F), std::nextafter(x, -1e38F)}) {
      out.push_back(y);
      out.push_back(-y);
    }
  };
  const int infinity = ((1 << exponent_bits) - 1) << mantissa_bits;
  for (int bits = 0; bits + 1 < infinity; bits += 1 + bits / 512) {
    const double a = value_of(static_cast<std::uint16_t>(bits), exponent_bits, mantissa_bits);
    const double b = value_of(static_cast<std::uint16_t>(bits + 1), exponent_bits, mantissa_bits);
    with_neighbours(static_cast<float>(a));
    with_neighbours(static_cast<float>((a + b) / 2));
  }
  for (const float x : {65504.0F, 65519.996F, 65520.0F, 65536.0F, 0x1p-14F, 0x1p-24F, 0x1p-25F, 0x1.8p-25F, 0x1p-149F,
                        std::numeric_limits<float>::min(), std::numeric_limits<float>::max()}) {
    with_neighbours(x);
  }
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(random_bits(7, i)));
    if (std::isfinite(x)) out.push_back(x);
  }
  return out;
}

TEST(Float16, EveryF16PatternWidensExactly) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    const double expected = value_of(pattern, 5, 10);
    const float got = to_float(F16{pattern});
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << bits;
    } else {
      EXPECT_EQ(got, expected) << bits;
      EXPECT_EQ(std::signbit(got), std::signbit(expected)) << bits;
    }
  }
}

TEST(Float16, EveryBf16PatternWidensExactly) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    const double expected = value_of(pattern, 8, 7);
    const float got = to_float(Bf16{pattern});
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(got)) << bits;
    } else {
      EXPECT_EQ(got, expected) << bits;
    }
  }
}

TEST(Float16, EveryPatternComesBack) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto pattern = static_cast<std::uint16_t>(bits);
    const float f16 = to_float(F16{pattern});
    EXPECT_TRUE(std::isnan(f16) || to_f16(f16).bits == pattern) << bits;
    const float bf16 = to_float(Bf16{pattern});
    EXPECT_TRUE(std::isnan(bf16) || to_bf16(bf16).bits == pattern) << bits;
  }
}

TEST(Float16, NarrowingRoundsToNearestEven) {
  for (const float x : interesting_floats(5, 10)) {
    ASSERT_EQ(to_f16(x).bits, nearest(x, 5, 10)) << std::hexfloat << x;
  }
  for (const float x : interesting_floats(8, 7)) {
    ASSERT_EQ(to_bf16(x).bits, nearest(x, 8, 7)) << std::hexfloat << x;
  }
}

TEST(Float16, InfinityAndNaN) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(to_f16(infinity).bits, 0x7C00U);
  EXPECT_EQ(to_f16(-infinity).bits, 0xFC00U);
  EXPECT_EQ(to_bf16(infinity).bits, 0x7F80U);
  EXPECT_EQ(to_bf16(-infinity).bits, 0xFF80U);
  // Every payload stays a NaN, also one that sits only in the half that is dropped.
  for (const std::uint32_t bits : {0x7FC00000U, 0x7F800001U, 0xFF800001U, 0x7F80FFFFU, 0xFFFFFFFFU, 0x7F810000U}) {
    EXPECT_TRUE(std::isnan(to_float(to_f16(std::bit_cast<float>(bits))))) << bits;
    EXPECT_TRUE(std::isnan(to_float(to_bf16(std::bit_cast<float>(bits))))) << bits;
  }
}

}  // namespace
}  // namespace awq
