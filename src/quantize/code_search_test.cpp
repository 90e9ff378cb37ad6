// Reverse Cholesky, error feedback, coordinate descent and target correction against what they promise.

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "awq/error.h"
#include "quant/group_quant.h"
#include "quantize/activation_stats.h"
#include "quantize/code_descent.h"
#include "quantize/error_feedback.h"
#include "quantize/reverse_cholesky.h"
#include "quantize/target_correction.h"
#include "support/random.h"
#include "tolerances.h"

namespace awq::quantize {
namespace {

using test::random_floats;

/// Inputs whose neighbouring channels are alike, and their Gram matrix.
struct Inputs {
  std::int64_t width, tokens;
  std::vector<float> x;
  SiteStatistics statistics;

  Inputs(std::int64_t k, std::int64_t t, std::uint64_t seed)
      : width(k), tokens(t), statistics(k, ops::Precision::kF32) {
    x = random_floats(seed, static_cast<std::size_t>(k * t));
    for (std::size_t i = 1; i < x.size(); ++i) x[i] += 0.8F * x[i - 1];
    statistics.add(x.data(), tokens);
    statistics.finish();
  }
  const float* gram() const { return statistics.gram(); }
};

double total_loss(const std::vector<float>& w, const Inputs& in, const quant::QuantizedTensor& tensor) {
  std::vector<double> losses(static_cast<std::size_t>(tensor.out_features));
  row_losses(w.data(), in.gram(), tensor, losses.data());
  return std::accumulate(losses.begin(), losses.end(), 0.0);
}

TEST(ReverseCholesky, FactorsAndSolves) {
  for (const std::int64_t k : {1, 7, 128, 300, 513}) {
    const Inputs in(k, 2 * k + 5, static_cast<std::uint64_t>(k));
    const double damping = 0.01;
    const ReverseCholesky factor(in.gram(), k, damping);
    double mean = 0;
    for (std::int64_t i = 0; i < k; ++i) mean += in.gram()[i * k + i] / static_cast<double>(k);
    const auto expected = [&](std::int64_t i, std::int64_t j) {
      return static_cast<double>(in.gram()[i * k + j]) + (i == j ? damping * mean : 0.0);
    };
    const std::int64_t step = std::max<std::int64_t>(1, k / 37);
    for (std::int64_t i = 0; i < k; i += step) {
      for (std::int64_t j = 0; j < k; j += step) {
        double sum = 0;
        for (std::int64_t c = 0; c < k; ++c)
          sum += static_cast<double>(factor.factor()[i * k + c]) * factor.factor()[j * k + c];
        EXPECT_NEAR(sum, expected(i, j), tolerance::kCholesky * std::sqrt(expected(i, i) * expected(j, j)));
        if (j < i) {
          EXPECT_EQ(factor.factor()[i * k + j], 0);
        }
      }
    }
    const std::vector<float> solution = random_floats(3, static_cast<std::size_t>(2 * k));
    std::vector<float> x(solution.size());
    for (std::int64_t r = 0; r < 2; ++r) {
      for (std::int64_t j = 0; j < k; ++j) {
        double sum = 0;
        for (std::int64_t i = 0; i < k; ++i) sum += solution[static_cast<std::size_t>(r * k + i)] * expected(i, j);
        x[static_cast<std::size_t>(r * k + j)] = static_cast<float>(sum);
      }
    }
    factor.solve(x.data(), 2);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], solution[i], tolerance::kCholeskySolve);
  }
}

TEST(ReverseCholesky, RefusesWhatIsNotFinite) {
  const std::vector<float> bad{1, std::nanf(""), std::nanf(""), 1};
  EXPECT_THROW(ReverseCholesky(bad.data(), 2, 0.01), Error);
}

TEST(ReverseCholesky, ChannelsWithoutInputsAreNoObstacle) {
  std::vector<float> gram{0, 0, 0, 4};
  const ReverseCholesky factor(gram.data(), 2, 0);
  EXPECT_FLOAT_EQ(factor.factor()[0], 1);
  EXPECT_FLOAT_EQ(factor.factor()[3], 2);
}

TEST(CodeSearch, EveryStepLowersTheLoss) {
  for (const std::int64_t group : {32, 128, -1}) {
    for (const int bits : {2, 3, 4, 8}) {
      for (const bool symmetric : {false, true}) {
        const std::int64_t k = 256;
        const std::int64_t n = 40;
        const Inputs in(k, 700, 5);
        std::vector<float> w = random_floats(6, static_cast<std::size_t>(n * k));
        for (float& v : w) v = v * v * v;
        const quant::Scheme scheme{.bits = bits, .group_size = group, .symmetric = symmetric};
        quant::QuantizedTensor tensor = quant::round_to_nearest(w.data(), n, k, scheme, DType::kF16);
        const double rounded = total_loss(w, in, tensor);
        quant::QuantizedTensor fed = quant::round_to_nearest(w.data(), n, k, scheme, DType::kF16);
        ErrorFeedback(in.gram(), k, {}).encode(w.data(), fed);
        const double with_feedback = total_loss(w, in, fed);
        EXPECT_LT(with_feedback, rounded);
        double before = rounded;
        for (int pass = 0; pass < 3; ++pass) {
          descend(w.data(), in.gram(), {.passes = 1, .refit = false}, tensor);
          const double now = total_loss(w, in, tensor);
          EXPECT_LE(now, before * (1 + tolerance::kTrace));
          before = now;
        }
        descend(w.data(), in.gram(), {.passes = 4, .refit = true}, fed);
        EXPECT_LT(total_loss(w, in, fed), with_feedback);
        for (const std::uint8_t code : fed.codes) EXPECT_LE(code, quant::max_code(bits));
        for (std::size_t i = 0; i < fed.scales.size(); ++i) {
          EXPECT_EQ(fed.scales[i], quant::stored_scale(fed.scales[i], DType::kF16));
          EXPECT_GT(fed.scales[i], 0);
          if (symmetric) {
            EXPECT_EQ(fed.zero_points[i], 1 << (bits - 1));
          }
        }
      }
    }
  }
}

TEST(TargetCorrection, FindsTheWeightsThatUndoALinearError) {
  // X^ = X M for an invertible M: the weights W M^-T give the original outputs exactly, but for the damping.
  const std::int64_t k = 64;
  const std::int64_t n = 32;
  const std::int64_t tokens = 900;
  const Inputs exact(k, tokens, 8);
  std::vector<float> quantized(exact.x.size());
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t j = 0; j < k; ++j) {
      const auto at = static_cast<std::size_t>(t * k + j);
      quantized[at] = 1.1F * exact.x[at] + (j > 0 ? 0.2F * exact.x[at - 1] : 0.0F);
    }
  }
  SiteStatistics statistics(k, ops::Precision::kF32);
  statistics.add(quantized.data(), tokens);
  statistics.finish();
  const std::vector<float> w = random_floats(9, static_cast<std::size_t>(n * k));
  const std::vector<float> gap = random_floats(10, static_cast<std::size_t>(tokens * n), 0.01);
  const auto error = [&](const std::vector<float>& moved, bool with_gap) {
    double sum = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t r = 0; r < n; ++r) {
        double difference = with_gap ? gap[static_cast<std::size_t>(t * n + r)] : 0;
        for (std::int64_t j = 0; j < k; ++j) {
          difference += static_cast<double>(w[static_cast<std::size_t>(r * k + j)]) *
                            exact.x[static_cast<std::size_t>(t * k + j)] -
                        static_cast<double>(moved[static_cast<std::size_t>(r * k + j)]) *
                            quantized[static_cast<std::size_t>(t * k + j)];
        }
        sum += difference * difference;
      }
    }
    return sum;
  };
  for (const bool with_gap : {false, true}) {
    CorrectionStatistics correction(k, with_gap ? n : 0, ops::Precision::kF32);
    std::vector<float> x = exact.x;
    correction.add(x.data(), quantized.data(), with_gap ? gap.data() : nullptr, tokens);
    std::vector<float> moved = w;
    correction.move(moved.data(), n, ReverseCholesky(statistics.gram(), k, 1e-5));
    // The random gap can be made up for only by chance; what is left of it is all of it.
    const double floor = with_gap ? error(w, true) - error(w, false) : 0;
    EXPECT_LT(error(moved, with_gap), 0.001 * error(w, with_gap) + 1.1 * std::fabs(floor));
    if (with_gap) {
      std::vector<float> without = w;
      CorrectionStatistics plain(k, 0, ops::Precision::kF32);
      std::vector<float> y = exact.x;
      plain.add(y.data(), quantized.data(), nullptr, tokens);
      plain.move(without.data(), n, ReverseCholesky(statistics.gram(), k, 1e-5));
      EXPECT_LT(error(moved, true), error(without, true)) << "the gap is what it aims at too";
    }
  }
}

}  // namespace
}  // namespace awq::quantize
