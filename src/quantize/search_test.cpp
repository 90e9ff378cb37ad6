// Scale search and range search: whatever they choose may not be worse, by their own loss, than doing nothing.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "quant/group_quant.h"
#include "quantize/range_search.h"
#include "quantize/scale_search.h"
#include "support/random.h"
#include "tolerances.h"

namespace awq::quantize {
namespace {

using quant::Scheme;
using test::random_floats;

/// A linear and the statistics of what it reads: channels of very different size, heavy tails in the weights.
struct Case {
  std::int64_t rows, width;
  std::vector<float> weights;
  SiteStatistics statistics;

  Case(std::int64_t n, std::int64_t k, std::uint64_t seed) : rows(n), width(k), statistics(k, ops::Precision::kF32) {
    weights = random_floats(seed, static_cast<std::size_t>(n * k));
    for (float& w : weights) w = w * w * w;
    const std::int64_t tokens = 3 * k;
    std::vector<float> x = random_floats(seed + 1, static_cast<std::size_t>(tokens * k));
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t c = 0; c < k; ++c) {
        x[static_cast<std::size_t>(t * k + c)] *=
            static_cast<float>(std::exp2(4 * uniform(seed + 2, static_cast<std::uint64_t>(c))));
      }
    }
    statistics.add(x.data(), tokens);
    statistics.finish();
  }
};

/// Loss of stored codes: trace(D H D^T) in binary64. With `group` > 0 only the blocks of H inside a group count.
double loss_of(const quant::QuantizedTensor& tensor, const Case& c, std::int64_t group = 0) {
  std::vector<float> d(c.weights.size());
  quant::dequantize(tensor, d.data());
  for (std::size_t i = 0; i < d.size(); ++i) d[i] -= c.weights[i];
  double loss = 0;
  for (std::int64_t n = 0; n < c.rows; ++n) {
    const float* row = d.data() + n * c.width;
    for (std::int64_t i = 0; i < c.width; ++i) {
      for (std::int64_t j = 0; j < c.width; ++j) {
        if (group > 0 && i / group != j / group) continue;
        loss += static_cast<double>(row[i]) * c.statistics.gram()[i * c.width + j] * row[j];
      }
    }
  }
  return loss;
}

/// What the range search looks at.
double block_loss_of(const quant::QuantizedTensor& tensor, const Case& c) {
  return loss_of(tensor, c, static_cast<std::int64_t>(quant::resolved_group_size(tensor.scheme, tensor.in_features)));
}

TEST(ScaleSearch, NeverWorseThanPlainRounding) {
  int improved = 0;
  for (const int bits : {2, 3, 4, 8}) {
    for (const std::int64_t group : {std::int64_t{32}, std::int64_t{64}, std::int64_t{-1}}) {
      const Scheme scheme{.bits = bits, .group_size = group};
      const Case a(24, 64, static_cast<std::uint64_t>(bits));
      const Case b(9, 64, 50);
      const WeightView views[] = {{a.weights.data(), a.rows}, {b.weights.data(), b.rows}};
      QuadraticForm form(a.statistics.gram(), 64, ops::Precision::kF32);
      const ScaleSearchResult found = search_channel_scale(views, a.statistics, form, scheme, DType::kF16);
      EXPECT_LE(found.loss, found.identity_loss);
      ASSERT_EQ(found.channel_scale.size(), 64U);
      improved += found.alpha >= 0 ? 1 : 0;
      // The losses are those of the weights that the scales give.
      double loss = 0;
      for (const WeightView& view : views) loss += rounding_loss(view, found.channel_scale, form, scheme, DType::kF16);
      EXPECT_EQ(loss, found.loss);
      const std::vector<float> ones(64, 1.0F);
      double identity = 0;
      for (const WeightView& view : views) identity += rounding_loss(view, ones, form, scheme, DType::kF16);
      EXPECT_EQ(identity, found.identity_loss);
      for (const float s : found.channel_scale) EXPECT_TRUE(std::isfinite(s) && s > 0);
    }
  }
  EXPECT_GT(improved, 6) << "activations of such different size should profit";
}

TEST(ScaleSearch, LossIsThatOfRoundToNearest) {
  const Case c(16, 96, 7);
  const Scheme scheme{.bits = 4, .group_size = 32};
  QuadraticForm form(c.statistics.gram(), 96, ops::Precision::kF32);
  const std::vector<float> ones(96, 1.0F);
  const double loss = rounding_loss({c.weights.data(), c.rows}, ones, form, scheme, DType::kF16);
  const double expected = loss_of(quant::round_to_nearest(c.weights.data(), 16, 96, scheme, DType::kF16), c);
  EXPECT_NEAR(loss, expected, expected * tolerance::kTraceOfItself);
}

TEST(ScaleSearch, ConstantInputsKeepTheIdentity) {
  // No activations at all: every candidate has loss 0, and the first of equals is the identity.
  SiteStatistics statistics(32, ops::Precision::kF32);
  const std::vector<float> zeros(32 * 4, 0.0F);
  statistics.add(zeros.data(), 4);
  statistics.finish();
  const std::vector<float> weights = random_floats(1, 8 * 32);
  const WeightView view{weights.data(), 8};
  QuadraticForm form(statistics.gram(), 32, ops::Precision::kF32);
  const ScaleSearchResult found =
      search_channel_scale({&view, 1}, statistics, form, {.bits = 4, .group_size = 32}, DType::kF16);
  EXPECT_EQ(found.alpha, -1);
  EXPECT_EQ(found.channel_scale, std::vector<float>(32, 1.0F));
}

TEST(RangeSearch, NeverWorseThanPlainRounding) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const bool symmetric : {false, true}) {
      for (const std::int64_t group : {std::int64_t{32}, std::int64_t{-1}}) {
        const Scheme scheme{.bits = bits, .group_size = group, .symmetric = symmetric};
        const Case c(37, 96, static_cast<std::uint64_t>(bits + 100));
        const RangeSearchResult found =
            search_ranges(c.weights.data(), c.rows, c.width, c.statistics.gram(), scheme, DType::kF16);
        const auto plain = quant::round_to_nearest(c.weights.data(), 37, 96, scheme, DType::kF16);
        const double before = block_loss_of(plain, c);
        EXPECT_LE(block_loss_of(found.tensor, c), before * (1 + tolerance::kTrace)) << bits << symmetric << group;
        EXPECT_GE(found.clipped_groups, 0);
        EXPECT_LE(found.clipped_groups, 1);
        if (bits <= 3) {
          EXPECT_GT(found.clipped_groups, 0) << "heavy tails at few bits should be cut";
        }
        for (const std::uint8_t zero : found.tensor.zero_points) {
          EXPECT_LE(zero, symmetric ? 1 << (bits - 1) : quant::max_code(bits));
        }
        for (const std::uint8_t code : found.tensor.codes) EXPECT_LE(code, quant::max_code(bits));
      }
    }
  }
}

TEST(RangeSearch, ExactWeightsAreLeftAlone) {
  // Weights on a grid of 16 values that uses both ends: rounding is exact and nothing beats it.
  std::vector<float> weights(2 * 32);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 16) * 0.5F - 4.0F;
  Case c(2, 32, 1);
  const RangeSearchResult found =
      search_ranges(weights.data(), 2, 32, c.statistics.gram(), {.bits = 4, .group_size = 32}, DType::kF16);
  std::vector<float> back(weights.size());
  quant::dequantize(found.tensor, back.data());
  EXPECT_EQ(back, weights);
  EXPECT_EQ(found.clipped_groups, 0);
}

}  // namespace
}  // namespace awq::quantize
