// The published quantizers on the same tensors: AutoAWQ's own functions, and textbook GPTQ. See
// tests/golden/make_quantizers.py.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <vector>

#include "file/json.h"
#include "quant/group_quant.h"
#include "quantize/activation_stats.h"
#include "quantize/code_descent.h"
#include "quantize/error_feedback.h"
#include "quantize/paper_recipe.h"
#include "support/base64.h"
#include "support/paths.h"
#include "support/random.h"
#include "tolerances.h"

namespace awq::quantize {
namespace {

/// A case of golden.json with the weights and inputs that its script restates.
struct Case {
  std::int64_t rows, width, tokens;
  quant::Scheme scheme;
  std::vector<float> weights, inputs;
  SiteStatistics statistics;
  std::vector<std::uint8_t> codes;

  explicit Case(const file::Json& row)
      : rows(row.at("rows")),
        width(row.at("width")),
        tokens(row.at("tokens")),
        scheme{.bits = row.at("bits"), .group_size = row.at("group_size")},
        statistics(width, ops::Precision::kF32),
        codes(test::decode_bytes(row.at("codes"))) {
    const std::uint64_t seed = row.at("seed");
    weights = test::random_floats(seed, static_cast<std::size_t>(rows * width));
    for (float& w : weights) w = w * w * w;
    const std::vector<float> x = test::random_floats(seed + 1, static_cast<std::size_t>(tokens * width));
    inputs = x;
    for (std::int64_t i = 0; i < tokens * width; ++i) {
      const std::int64_t k = i % width;
      const auto at = static_cast<std::size_t>(i);
      if (k > 0) inputs[at] += x[at - 1];
      inputs[at] *= static_cast<float>(std::exp2(4 * uniform(seed + 2, static_cast<std::uint64_t>(k))));
    }
    statistics.add(inputs.data(), tokens);
    statistics.finish();
  }

  /// Share of codes that are not the golden ones.
  double other_codes(const quant::QuantizedTensor& tensor) const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < codes.size(); ++i) count += tensor.codes[i] != codes[i];
    return static_cast<double>(count) / static_cast<double>(codes.size());
  }

  /// Share of groups with any code that is not the golden one.
  double other_groups(const quant::QuantizedTensor& tensor) const {
    const auto size = static_cast<std::ptrdiff_t>(scheme.group_size);
    std::size_t count = 0;
    for (auto at = codes.begin(); at != codes.end(); at += size) {
      count += !std::equal(at, at + size, tensor.codes.begin() + (at - codes.begin()));
    }
    return static_cast<double>(count) * static_cast<double>(size) / static_cast<double>(codes.size());
  }
};

file::Json golden() {
  return file::read_json_file(std::filesystem::path(AWQ_SOURCE_DIR) / "tests/golden/quantizers/golden.json");
}

TEST(PublishedQuantizers, PaperRecipeIsAutoAwq) {
  const file::Json all = golden();
  for (const file::Json& row : all.at("awq")) {
    Case c(row);
    const WeightView view{c.weights.data(), c.rows};
    QuadraticForm form(c.statistics.gram(), c.width, ops::Precision::kF32);
    // The module is the linear itself: its output error is exact from the Gram matrix.
    const auto loss = [&](std::span<const float> scale) {
      const quant::QuantizedTensor tensor = paper_round(view.data, view.rows, c.width, scale, c.scheme, DType::kF32);
      return form.trace(c.rows, [&](std::int64_t begin, std::int64_t end, float* out) {
        quant::dequantize_rows(tensor, static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end), out);
        for (std::int64_t i = 0; i < (end - begin) * c.width; ++i) {
          out[i] = out[i] / scale[static_cast<std::size_t>(i % c.width)] -
                   c.weights[static_cast<std::size_t>(begin * c.width + i)];
        }
      });
    };
    const ScaleSearchResult found = paper_scale_search({&view, 1}, c.statistics.mean_abs(), c.scheme, loss);
    EXPECT_DOUBLE_EQ(found.alpha, row.at("alpha").get<double>());

    std::vector<float> sampled;
    const std::int64_t step = paper_clip_step(c.tokens);
    for (std::int64_t t = 0; t < c.tokens; t += step) {
      for (std::int64_t k = 0; k < c.width; ++k) {
        sampled.push_back(c.inputs[static_cast<std::size_t>(t * c.width + k)] /
                          found.channel_scale[static_cast<std::size_t>(k)]);
      }
    }
    for (std::size_t i = 0; i < c.weights.size(); ++i)
      c.weights[i] *= found.channel_scale[i % found.channel_scale.size()];
    EXPECT_GT(paper_clip(c.weights.data(), c.rows, c.width, sampled, c.scheme, DType::kF32), 0);
    const quant::QuantizedTensor tensor = paper_round(c.weights.data(), c.rows, c.width, {}, c.scheme, DType::kF32);
    EXPECT_LE(c.other_groups(tensor), tolerance::kOtherClippedGroups);
    double sum = 0;
    for (const float s : tensor.scales) sum += s;
    EXPECT_NEAR(sum, row.at("scale_sum").get<double>(), tolerance::kOtherClippedGroups * sum);
  }
}

TEST(PublishedQuantizers, ErrorFeedbackIsGptq) {
  const file::Json all = golden();
  for (const file::Json& row : all.at("gptq")) {
    const Case c(row);
    const auto n = static_cast<std::uint64_t>(c.rows);
    quant::QuantizedTensor tensor =
        quant::round_to_nearest(c.weights.data(), n, static_cast<std::uint64_t>(c.width), c.scheme, DType::kF16);
    EXPECT_GT(c.other_codes(tensor), 0.05) << "rounding alone should not do";
    ErrorFeedback(c.statistics.gram(), c.width, {.zero_dead = true}).encode(c.weights.data(), tensor);
    EXPECT_LE(c.other_codes(tensor), tolerance::kOtherFeedbackCodes);
    std::vector<double> losses(static_cast<std::size_t>(c.rows));
    row_losses(c.weights.data(), c.statistics.gram(), tensor, losses.data());
    double loss = 0;
    for (const double l : losses) loss += l;
    const double expected = row.at("loss");
    EXPECT_NEAR(loss, expected, tolerance::kFeedbackLoss * expected);
  }
}

}  // namespace
}  // namespace awq::quantize
