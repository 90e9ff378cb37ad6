// SiteStatistics and QuadraticForm against their definitions in binary64.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "awq/error.h"
#include "base/cpu_features.h"
#include "quantize/activation_stats.h"
#include "quantize/quadratic_form.h"
#include "support/random.h"
#include "tolerances.h"

namespace awq::quantize {
namespace {

using test::random_floats;

struct Size {
  std::int64_t rows, width;
};

std::vector<ops::Precision> precisions() {
  if (has_native_bf16()) return {ops::Precision::kF32, ops::Precision::kBf16};
  return {ops::Precision::kF32};
}

/// Activations with a few large channels, as real ones have.
std::vector<float> activations(std::int64_t tokens, std::int64_t width) {
  std::vector<float> x = random_floats(5, static_cast<std::size_t>(tokens * width));
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (i % static_cast<std::size_t>(width) % 17 == 3) x[i] = x[i] * 30 + 10;
  }
  return x;
}

TEST(SiteStatistics, MatchesTheDefinition) {
  for (const ops::Precision precision : precisions()) {
    // 1030 channels: more than one block of columns.
    for (const Size& size : {Size{40, 5}, Size{200, 64}, Size{24, 1030}}) {
      const std::int64_t tokens = size.rows;
      const std::int64_t width = size.width;
      const std::vector<float> x = activations(tokens, width);
      SiteStatistics statistics(width, precision);
      for (std::int64_t begin = 0; begin < tokens; begin += 13) {
        statistics.add(x.data() + begin * width, std::min<std::int64_t>(13, tokens - begin));
      }
      statistics.finish();
      EXPECT_EQ(statistics.tokens(), tokens);
      const std::vector<double> mean_abs = statistics.mean_abs();
      const auto at = [&](std::int64_t t, std::int64_t k) {
        return static_cast<double>(x[static_cast<std::size_t>(t * width + k)]);
      };
      const auto gram = [&](std::int64_t i, std::int64_t j) {
        double sum = 0;
        for (std::int64_t t = 0; t < tokens; ++t) sum += at(t, i) * at(t, j);
        return sum;
      };
      std::vector<double> diagonal;
      for (std::int64_t i = 0; i < width; ++i) diagonal.push_back(gram(i, i));
      const double bound = precision == ops::Precision::kF32 ? tolerance::kGram : tolerance::kGramBf16;
      for (std::int64_t i = 0; i<width; i += width> 100 ? 37 : 1) {
        double sum = 0;
        for (std::int64_t t = 0; t < tokens; ++t) sum += std::fabs(at(t, i));
        EXPECT_NEAR(mean_abs[static_cast<std::size_t>(i)], sum / static_cast<double>(tokens), tolerance::kDoubleSum);
        for (std::int64_t j = 0; j < width; ++j) {
          const double scale = std::sqrt(diagonal[static_cast<std::size_t>(i)] * diagonal[static_cast<std::size_t>(j)]);
          ASSERT_NEAR(statistics.gram()[i * width + j], gram(i, j), scale * bound) << i << " " << j;
          ASSERT_EQ(statistics.gram()[i * width + j], statistics.gram()[j * width + i]) << "not symmetric";
        }
      }
    }
  }
}

TEST(SiteStatistics, ActivationsThatOverflowAreNamed) {
  SiteStatistics statistics(4, ops::Precision::kF32);
  const std::vector<float> x = {1, 2, 1e30F, 3};
  statistics.add(x.data(), 1);
  try {
    statistics.finish();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("channel 2"), std::string::npos) << error.what();
  }
}

TEST(QuadraticForm, MatchesTheDefinition) {
  for (const ops::Precision precision : precisions()) {
    // More rows than a chunk and more columns than a block.
    for (const Size& size : {Size{2, 3}, Size{33, 64}, Size{20, 520}, Size{1030, 40}}) {
      const std::int64_t rows = size.rows;
      const std::int64_t width = size.width;
      const std::vector<float> x = activations(2 * width, width);
      SiteStatistics statistics(width, ops::Precision::kF32);
      statistics.add(x.data(), 2 * width);
      statistics.finish();
      const std::vector<float> d = random_floats(9, static_cast<std::size_t>(rows * width), 0.1);
      QuadraticForm form(statistics.gram(), width, precision);
      const double got = form.trace(rows, [&](std::int64_t begin, std::int64_t end, float* out) {
        std::copy(d.begin() + begin * width, d.begin() + end * width, out);
      });
      double expected = 0;
      double magnitude = 0;
      for (std::int64_t n = 0; n < rows; ++n) {
        for (std::int64_t i = 0; i < width; ++i) {
          for (std::int64_t j = 0; j < width; ++j) {
            const double product = static_cast<double>(d[static_cast<std::size_t>(n * width + i)]) *
                                   statistics.gram()[i * width + j] * d[static_cast<std::size_t>(n * width + j)];
            expected += product;
            magnitude += std::fabs(product);
          }
        }
      }
      const double bound = precision == ops::Precision::kF32 ? tolerance::kTrace : tolerance::kTraceBf16;
      EXPECT_NEAR(got, expected, magnitude * bound) << width << " " << rows;
      EXPECT_GE(got, 0);
    }
  }
}

}  // namespace
}  // namespace awq::quantize
