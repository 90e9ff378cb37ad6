#include "base/float8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/float16.h"
#include "quant/group_quant.h"

namespace awq::quant {
namespace {

/// The value of a code by the definition of the format.
double defined_value(int code) {
  const int exponent = (code >> 3) & 15;
  const int mantissa = code & 7;
  const double magnitude =
      exponent == 0 ? std::ldexp(mantissa / 8.0, -6) : std::ldexp(1 + mantissa / 8.0, exponent - 7);
  return (code & 0x80) != 0 ? -magnitude : magnitude;
}

TEST(Float8, EveryCodeHasItsValue) {
  for (int code = 0; code < 256; ++code) {
    const float value = to_float(E4M3{static_cast<std::uint8_t>(code)});
    if ((code & 0x7F) == 0x7F) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    EXPECT_EQ(static_cast<double>(value), defined_value(code)) << code;
    EXPECT_EQ(to_e4m3(value).bits, code);
    EXPECT_EQ(std::signbit(value), code >= 128);
  }
}

/// Nearest code by search over all of them; of two equally near ones the even. 480 stands for the code after 448,
/// which is NaN.
int nearest_code(double x) {
  const int sign = std::signbit(x) ? 0x80 : 0;
  const double magnitude = std::min(std::fabs(x), 480.0);
  int best = 0;
  for (int code = 1; code <= 0x7F; ++code) {
    const double d = std::fabs(defined_value(code) - magnitude);
    const double d_best = std::fabs(defined_value(best) - magnitude);
    if (d < d_best || (d == d_best && code % 2 == 0)) best = code;
  }
  return sign | best;
}

TEST(Float8, EveryBf16RoundsToTheNearestCode) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float x = awq::to_float(Bf16{static_cast<std::uint16_t>(bits)});
    const int sign = static_cast<int>((bits >> 8) & 0x80U);
    if (std::isnan(x)) {
      EXPECT_EQ(to_e4m3(x).bits, sign | 0x7F);
      EXPECT_EQ(saturated_e4m3(x).bits, sign | 0x7F);
      continue;
    }
    ASSERT_EQ(to_e4m3(x).bits, std::isinf(x) ? sign | 0x7F : nearest_code(x)) << x;
    ASSERT_EQ(saturated_e4m3(x).bits, std::fabs(x) > 448 ? sign | 0x7E : nearest_code(x)) << x;
  }
}

TEST(Float8, TiesGoToEvenBetweenAllNeighbours) {
  for (int code = 0; code < 0x7E; ++code) {
    const float middle = static_cast<float>((defined_value(code) + defined_value(code + 1)) / 2);
    EXPECT_EQ(to_e4m3(middle).bits, code % 2 == 0 ? code : code + 1) << middle;
    EXPECT_EQ(to_e4m3(std::nextafter(middle, 0.0F)).bits, code);
    EXPECT_EQ(to_e4m3(std::nextafter(middle, 1e3F)).bits, code + 1);
  }
  EXPECT_EQ(to_e4m3(464).bits, 0x7E);
  EXPECT_EQ(to_e4m3(std::nextafter(464.0F, 1e3F)).bits, 0x7F);
}

std::vector<float> some_weights(std::uint64_t count) {
  std::vector<float> w(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    w[i] = std::sin(static_cast<float>(i) * 0.7F) * 0.05F * static_cast<float>(1 + i % 5);
  }
  return w;
}

TEST(Float8, RowScalesPutTheLargestWeightAtTheTop) {
  constexpr std::uint64_t kRows = 6;
  constexpr std::uint64_t kColumns = 96;
  std::vector<float> w = some_weights(kRows * kColumns);
  std::fill(w.begin() + 3 * kColumns, w.begin() + 4 * kColumns, 0.0F);  // a row of zeros stays one
  const Scheme scheme{.bits = 8, .group_size = -1, .symmetric = true, .kind = CodeKind::kE4M3};
  const QuantizedTensor tensor = round_to_nearest(w.data(), kRows, kColumns, scheme, DType::kF32);
  std::vector<float> back(w.size());
  dequantize(tensor, back.data());
  for (std::uint64_t n = 0; n < kRows; ++n) {
    float largest = 0;
    for (std::uint64_t k = 0; k < kColumns; ++k) largest = std::max(largest, std::fabs(w[n * kColumns + k]));
    if (largest > 0) {
      EXPECT_EQ(tensor.scales[n], largest / kE4M3Max);
    }
    for (std::uint64_t k = 0; k < kColumns; ++k) {
      const float x = w[n * kColumns + k];
      // Half a step: a sixteenth of the leading power of two, or of the smallest step.
      EXPECT_LE(std::fabs(back[n * kColumns + k] - x), std::fabs(x) / 16 + tensor.scales[n] * 0x1p-10F);
    }
  }
  EXPECT_NO_THROW(check_scales(tensor, "w"));
}

TEST(Float8, BlocksShareOneScale) {
  constexpr std::uint64_t kRows = 200;
  constexpr std::uint64_t kColumns = 256;
  std::vector<float> w = some_weights(kRows * kColumns);
  w[130 * kColumns + 200] = 9;
  const Scheme scheme{.bits = 8, .group_size = 128, .symmetric = true, .kind = CodeKind::kE4M3, .rows_per_scale = 128};
  const QuantizedTensor tensor = round_to_nearest(w.data(), kRows, kColumns, scheme, DType::kF32);
  ASSERT_EQ(tensor.scales.size(), kRows * 2);
  for (std::uint64_t n = 0; n < kRows; ++n) {
    for (std::uint64_t g = 0; g < 2; ++g) {
      float largest = 0;
      for (std::uint64_t i = n / 128 * 128; i < std::min<std::uint64_t>(kRows, n / 128 * 128 + 128); ++i) {
        for (std::uint64_t k = g * 128; k < (g + 1) * 128; ++k)
          largest = std::max(largest, std::fabs(w[i * kColumns + k]));
      }
      EXPECT_EQ(tensor.scales[n * 2 + g], largest / kE4M3Max) << n << " " << g;
    }
  }
  std::vector<float> back(w.size());
  dequantize(tensor, back.data());
  EXPECT_EQ(back[130 * kColumns + 200], 9);
}

}  // namespace
}  // namespace awq::quant
