#include "quantize/layer_quantizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "awq/error.h"
#include "model/decoder.h"
#include "quant/group_quant.h"
#include "support/random_model.h"
#include "tolerances.h"

namespace awq::quantize {
namespace {

using model::Role;
using model::Site;

/// Tokens that go through layer 0 of the random model.
class LayerQuantizer : public testing::Test {
 protected:
  static constexpr std::int64_t kTokens = 96;

  LayerQuantizer() : input_(static_cast<std::size_t>(kTokens * model_.config().hidden_size)) {
    std::vector<std::int32_t> ids(kTokens);
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(random_bits(1, i) % 64);
    model_.embed(ids, input_.data());
    plan_.scheme = {.bits = 8, .group_size = 32};
    plan_.quantized.fill(true);
  }

  std::vector<float> forward(model::LayerWeights&& weights, const model::SiteObserver& observer = nullptr) const {
    std::vector<float> hidden = input_;
    const model::SequenceSlice slice{.token_count = kTokens};
    model::Decoder(model_.config())
        .forward_layer(model::DecoderLayer(std::move(weights)), 0, {&slice, 1}, hidden.data(), ops::Precision::kF32,
                       observer);
    return hidden;
  }

  LayerStatistics statistics() const {
    LayerStatistics out;
    for (const model::SiteSpec& site : model_.architecture().sites) {
      out[static_cast<std::size_t>(site.site)].emplace(model::site_width(model_.config(), site.site),
                                                       ops::Precision::kF32);
    }
    forward(model_.load_layer(0), [&](Site site, const float* x, std::int64_t tokens) {
      out[static_cast<std::size_t>(site)]->add(x, tokens);
    });
    for (auto& site : out) site->finish();
    return out;
  }

  LayerReport quantize(model::LayerWeights& weights) const {
    LayerStatistics collected = statistics();
    return quantize_layer(model_.config(), model_.architecture(), plan_, collected, weights, "layer 0");
  }

  /// Root mean square of the difference, relative to the exact output.
  double relative_error(model::LayerWeights&& weights) const {
    const std::vector<float> expected = forward(model_.load_layer(0));
    const std::vector<float> got = forward(std::move(weights));
    double squares = 0;
    double size = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      squares += std::pow(static_cast<double>(got[i]) - expected[i], 2);
      size += std::pow(static_cast<double>(expected[i]), 2);
    }
    return std::sqrt(squares / size);
  }

  /// The same for plain rounding of all linears.
  double rounding_error() const {
    LayerPlan plain = plan_;
    plain.search_scales = plain.search_ranges = false;
    plain.quantized.fill(true);
    LayerStatistics none;
    model::LayerWeights weights = model_.load_layer(0);
    quantize_layer(model_.config(), model_.architecture(), plain, none, weights, "layer 0");
    return relative_error(std::move(weights));
  }

  test::RandomModel model_;
  std::vector<float> input_;
  LayerPlan plan_;
};

TEST_F(LayerQuantizer, FoldsAllSitesAndKeepsTheOutput) {
  model::LayerWeights weights = model_.load_layer(0);
  const LayerReport report = quantize(weights);
  ASSERT_EQ(report.linears.size(), model::kRoles);
  ASSERT_EQ(report.sites.size(), model::kSites);
  for (const SiteReport& site : report.sites) {
    EXPECT_GE(site.alpha, 0) << "site " << static_cast<int>(site.site) << " has channels of very different size";
  }
  for (const model::LinearWeights& linear : weights.linears) EXPECT_TRUE(linear.quantized.has_value());
  EXPECT_LT(relative_error(std::move(weights)), tolerance::kFoldedNoise * rounding_error());
}

TEST_F(LayerQuantizer, ReportsTheErrorOfEveryLinear) {
  // One group per row: the range search then sees the whole loss, and neither step can make it worse. q, k, v and
  // gate, up share their scales, so only linears that read alone are compared.
  plan_.scheme = {.bits = 3, .group_size = -1};
  model::LayerWeights weights = model_.load_layer(0);
  const LayerReport report = quantize(weights);
  for (const LinearReport& linear : report.linears) {
    EXPECT_GT(linear.error_before, 0);
    EXPECT_GT(linear.error_after, 0);
    if (linear.role == Role::kO || linear.role == Role::kDown) {
      EXPECT_LE(linear.error_after, linear.error_before * (1 + tolerance::kTrace));
    }
  }
  EXPECT_GT(report.mean_error, 0);
  EXPECT_LT(report.mean_error, 0.5);
}

TEST_F(LayerQuantizer, WithoutStatisticsItRounds) {
  LayerStatistics none;
  model::LayerWeights weights = model_.load_layer(0);
  const AlignedBuffer<float> before = weights[Role::kGate].to_floats();
  plan_.search_scales = plan_.search_ranges = false;
  quantize_layer(model_.config(), model_.architecture(), plan_, none, weights, "layer 0");
  const auto expected = quant::round_to_nearest(before.data(), 64, 32, plan_.scheme, plan_.scale_dtype);
  const auto& found = *weights[Role::kGate].quantized;
  EXPECT_TRUE(std::equal(found.codes.begin(), found.codes.end(), expected.codes.begin(), expected.codes.end()));
  EXPECT_TRUE(std::equal(found.scales.begin(), found.scales.end(), expected.scales.begin()));
}

TEST_F(LayerQuantizer, LinearsThatStayKeepTheirWeightsAndTheirProducer) {
  for (const Role kept : {Role::kK, Role::kO, Role::kV, Role::kUp, Role::kDown}) {
    plan_.quantized.fill(true);
    plan_.quantized[static_cast<std::size_t>(kept)] = false;
    model::LayerWeights weights = model_.load_layer(0);
    const LayerReport report = quantize(weights);
    EXPECT_EQ(report.linears.size(), model::kRoles - 1);
    EXPECT_FALSE(weights[kept].quantized.has_value());
    const AlignedBuffer<float> after = weights[kept].to_floats();
    const AlignedBuffer<float> before = model_.load_layer(0)[kept].to_floats();
    EXPECT_TRUE(std::equal(after.begin(), after.end(), before.begin(), before.end()));
    EXPECT_LT(relative_error(std::move(weights)), tolerance::kFoldedNoise * rounding_error()) << static_cast<int>(kept);
  }
}

TEST_F(LayerQuantizer, CanFold) {
  const auto allowed = [&](Site wanted) {
    for (const model::SiteSpec& site : model_.architecture().sites) {
      if (site.site == wanted) return can_fold(model_.config(), model_.architecture(), plan_, site);
    }
    return false;
  };
  for (const Site site : {Site::kAttentionInput, Site::kAttentionOutput, Site::kMlpInput, Site::kMlpProduct}) {
    EXPECT_TRUE(allowed(site));
  }
  plan_.quantized[static_cast<std::size_t>(Role::kUp)] = false;
  EXPECT_FALSE(allowed(Site::kMlpInput)) << "up_proj reads the norm too";
  EXPECT_FALSE(allowed(Site::kMlpProduct)) << "up_proj would have to be divided in 16 bits";
  EXPECT_TRUE(allowed(Site::kAttentionOutput));
}

TEST_F(LayerQuantizer, DamagedWeightsAreNamed) {
  model::LayerWeights weights = model_.load_layer(0);
  reinterpret_cast<float*>(weights[Role::kDown].dense.data())[5] = std::numeric_limits<float>::quiet_NaN();
  LayerStatistics collected = statistics();
  try {
    quantize_layer(model_.config(), model_.architecture(), plan_, collected, weights, "model.layers.0");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
    EXPECT_NE(std::string(error.what()).find("model.layers.0.mlp.down_proj.weight\": element 5"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace awq::quantize
