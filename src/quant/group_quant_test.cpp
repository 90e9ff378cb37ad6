#include "quant/group_quant.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "awq/error.h"
#include "base/float16.h"
#include "base/random.h"
#include "tolerances.h"

namespace awq::quant {
namespace {

constexpr DType kScaleTypes[] = {DType::kF32, DType::kF16, DType::kBf16};

/// Weights of one group in [low, high].
std::vector<float> random_group(std::uint64_t seed, std::uint64_t count, double low, double high) {
  std::vector<float> out(count);
  for (std::uint64_t i = 0; i < count; ++i) out[i] = static_cast<float>(low + (high - low) * uniform(seed, i));
  return out;
}

float round_to(float x, DType dtype) {
  if (dtype == DType::kF16) return to_float(to_f16(x));
  return dtype == DType::kBf16 ? to_float(to_bf16(x)) : x;
}

/// |w - dequantize| <= scale / 2 wherever the stored scale and zero point can represent w.
void expect_half_step(const std::vector<float>& w, std::uint64_t rows, std::uint64_t width, const Scheme& scheme,
                      DType dtype) {
  const QuantizedTensor tensor = round_to_nearest(w.data(), rows, width, scheme, dtype);
  std::vector<float> back(w.size());
  dequantize(tensor, back.data());
  const std::uint64_t group = resolved_group_size(scheme, width);
  for (std::size_t i = 0; i < w.size(); ++i) {
    const std::size_t g = i / group;
    const double scale = tensor.scales[g];
    const double zero = tensor.zero_points[g];
    EXPECT_EQ(tensor.scales[g], round_to(tensor.scales[g], dtype)) << "a scale that the file cannot hold";
    EXPECT_LE(tensor.codes[i], max_code(scheme.bits));
    const double low = -zero * scale;
    const double high = (max_code(scheme.bits) - zero) * scale;
    const double nearest = std::min(std::max<double>(w[i], low), high);
    EXPECT_LE(std::fabs(back[i] - nearest), scale * tolerance::kHalfStep)
        << "w " << w[i] << " scale " << scale << " zero " << zero << " bits " << scheme.bits;
  }
}

TEST(GroupQuant, ErrorIsAtMostHalfAStep) {
  std::uint64_t seed = 0;
  for (const DType dtype : kScaleTypes) {
    for (const int bits : {2, 3, 4, 8}) {
      for (const bool symmetric : {false, true}) {
        for (const auto& [low, high] : {std::pair{-1.0, 1.0}, {-0.01, 0.3}, {-50.0, 2.0}, {-1e-4, 1e-4}}) {
          const Scheme scheme{.bits = bits, .group_size = 32, .symmetric = symmetric};
          expect_half_step(random_group(++seed, 3 * 96, low, high), 3, 96, scheme, dtype);
        }
      }
    }
  }
}

TEST(GroupQuant, OneGroupPerRow) {
  expect_half_step(random_group(5, 4 * 172, -2, 1), 4, 172, {.bits = 4, .group_size = -1}, DType::kF16);
}

TEST(GroupQuant, ZeroIsExact) {
  for (const DType dtype : kScaleTypes) {
    for (const auto& [low, high] : {std::pair{-3.0, 1.0}, {0.5, 0.9}, {-0.9, -0.5}}) {
      std::vector<float> w = random_group(11, 32, low, high);
      w[5] = 0;
      const QuantizedTensor tensor = round_to_nearest(w.data(), 1, 32, {.bits = 4, .group_size = 32}, dtype);
      std::vector<float> back(32);
      dequantize(tensor, back.data());
      EXPECT_EQ(back[5], 0.0F);
    }
  }
}

TEST(GroupQuant, GroupsOfOneSignUseTheirWholeRange) {
  // Without the range extended to zero the largest weight of such a group would be cut (reference: 0.90 -> 0.75).
  for (const double sign : {1.0, -1.0}) {
    const std::vector<float> w = random_group(3, 64, sign * 0.5, sign * 1.0);
    const QuantizedTensor tensor = round_to_nearest(w.data(), 1, 64, {.bits = 4, .group_size = 64}, DType::kF16);
    std::vector<float> back(64);
    dequantize(tensor, back.data());
    for (std::size_t i = 0; i < w.size(); ++i) {
      // The stored scale may be half an F16 step too small, which the top code multiplies.
      EXPECT_NEAR(back[i], w[i], tensor.scales[0] * tolerance::kHalfStep + std::fabs(w[i]) * 0x1p-11);
    }
    EXPECT_EQ(tensor.zero_points[0], sign > 0 ? 0 : 15);
  }
}

TEST(GroupQuant, AllZeroGroup) {
  const std::vector<float> w(64, 0.0F);
  for (const DType dtype : kScaleTypes) {
    for (const bool symmetric : {false, true}) {
      const Scheme scheme{.bits = 4, .group_size = 32, .symmetric = symmetric};
      const QuantizedTensor tensor = round_to_nearest(w.data(), 1, 64, scheme, dtype);
      std::vector<float> back(64, 1.0F);
      dequantize(tensor, back.data());
      for (const float value : back) EXPECT_EQ(value, 0.0F);
      for (const float scale : tensor.scales) EXPECT_GT(scale, 0.0F);
      EXPECT_NO_THROW(check_scales(tensor, "w"));
    }
  }
}

TEST(GroupQuant, SymmetricZeroPointIsTheMiddle) {
  const std::vector<float> w = random_group(9, 128, -1, 0.2);
  for (const int bits : {2, 3, 4, 8}) {
    const Scheme scheme{.bits = bits, .group_size = 32, .symmetric = true};
    const QuantizedTensor tensor = round_to_nearest(w.data(), 1, 128, scheme, DType::kF32);
    for (const std::uint8_t zero : tensor.zero_points) EXPECT_EQ(zero, 1 << (bits - 1));
    for (std::size_t g = 0; g < 4; ++g) {
      const Range range = range_of(w.data() + g * 32, 32);
      const float largest = std::max(-range.low, range.high);
      EXPECT_FLOAT_EQ(tensor.scales[g], largest / (static_cast<float>(max_code(bits)) / 2));
    }
  }
}

/// Eight rows worked out by hand from AutoAWQ's formulas, with F16 scales. Rows 2, 3 and 6 have one sign: there the
/// range is extended to zero, which AutoAWQ does not do.
TEST(GroupQuant, WorkedExample) {
  struct Row {
    std::vector<float> weights;
    std::uint16_t scale;
    int zero;
    std::vector<int> codes;
  };
  const Row rows[] = {
      {{-0.70F, 0.10F, 0.32F, 0.80F}, 0x2E66, 7, {0, 8, 10, 15}},
      {{0.50F, -0.25F, 0, 0.25F}, 0x2A66, 5, {15, 0, 5, 10}},
      {{0.90F, 0.30F, 0.60F, 0.15F}, to_f16(0.06F).bits, 0, {15, 5, 10, 3}},
      {{-0.2F, -0.4F, -0.6F, -0.8F}, to_f16(0.8F / 15).bits, 15, {11, 8, 4, 0}},
      {{0, 0, 0, 0}, 0x000B, 0, {0, 0, 0, 0}},
      {{1.5F, -1.5F, 0.75F, 0}, 0x3266, 8, {15, 0, 12, 8}},
      {{.01F, .02F, .03F, .04F}, to_f16(0.04F / 15).bits, 0, {4, 8, 11, 15}},
      {{-0.1F, 0.2F, -0.3F, 0.45F}, 0x2A66, 6, {4, 10, 0, 15}},
  };
  for (const Row& row : rows) {
    const QuantizedTensor tensor =
        round_to_nearest(row.weights.data(), 1, 4, {.bits = 4, .group_size = -1}, DType::kF16);
    EXPECT_EQ(to_f16(tensor.scales[0]).bits, row.scale) << row.weights[0];
    EXPECT_EQ(tensor.zero_points[0], row.zero) << row.weights[0];
    for (std::size_t k = 0; k < 4; ++k) EXPECT_EQ(tensor.codes[k], row.codes[k]) << row.weights[0] << " " << k;
  }
}

TEST(GroupQuant, RoundEvenIsNearbyint) {
  for (int i = -4000; i <= 4000; ++i) {
    const float x = static_cast<float>(i) / 8;
    EXPECT_EQ(round_even(x), std::nearbyint(x)) << x;
  }
}

TEST(GroupQuant, WeightsBeyondTheScaleTypeAreNamed) {
  std::vector<float> w(32, 0.0F);
  w[3] = 2e6F;  // needs a scale of 133333, F16 ends at 65504
  const QuantizedTensor tensor = round_to_nearest(w.data(), 1, 32, {.bits = 4, .group_size = 32}, DType::kF16);
  try {
    check_scales(tensor, "model.layers.0.mlp.up_proj");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_NE(std::string(error.what()).find("model.layers.0.mlp.up_proj"), std::string::npos);
  }
}

}  // namespace
}  // namespace awq::quant
