#include "eval/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "awq/error.h"
#include "base/random.h"
#include "model/language_model.h"
#include "support/checkpoints.h"
#include "support/logits.h"
#include "support/temp_folder.h"
#include "tolerances.h"

namespace awq::eval {
namespace {

/// Windows of random ids; some longer than the pieces in which logits are computed.
Windows random_windows(std::int64_t vocab) {
  Windows windows;
  for (const std::size_t length : {2U, 17U, 300U, 64U, 5U}) {
    auto& window = windows.emplace_back(length);
    for (std::size_t i = 0; i < length; ++i) {
      window[i] = static_cast<std::int32_t>(random_bits(length, i) % static_cast<std::uint64_t>(vocab));
    }
  }
  return windows;
}

/// A whole model's log probabilities [tokens, vocab] of one window.
std::vector<double> log_probabilities(model::LanguageModel& model, const std::vector<std::int32_t>& window) {
  const std::vector<float> logits = test::all_logits(model, window);
  const auto vocab = static_cast<std::size_t>(model.config().vocab_size);
  std::vector<double> out(logits.size());
  for (std::size_t row = 0; row < logits.size(); row += vocab) {
    double sum = 0;
    for (std::size_t v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(logits[row + v]));
    for (std::size_t v = 0; v < vocab; ++v) out[row + v] = logits[row + v] - std::log(sum);
  }
  return out;
}

class Compare : public testing::Test {
 protected:
  Compare() {
    const auto folder = test::golden_models().front();
    // The same weights with another epsilon: a model that differs a little.
    test::derive_model(folder, folder_ / "other", {{"rms_norm_eps", 0.05}});
    base_.emplace(model::ModelFiles::open(folder));
    other_.emplace(model::ModelFiles::open(folder_ / "other"));
    windows_ = random_windows(base_->config().vocab_size);
  }
  test::TempFolder folder_;
  std::optional<model::ModelFiles> base_, other_;
  Windows windows_;
};

TEST_F(Compare, MatchesTheDefinitions) {
  model::LanguageModel base(*base_), other(*other_);
  double nll = 0, base_nll = 0, kl = 0, agreed = 0, tokens = 0;
  std::vector<double> all_kl;
  std::vector<std::pair<double, double>> deltas;  // of each window: summed difference, tokens
  const auto vocab = static_cast<std::size_t>(base.config().vocab_size);
  for (const auto& window : windows_) {
    const std::vector<double> p = log_probabilities(base, window);
    const std::vector<double> q = log_probabilities(other, window);
    double delta = 0;
    for (std::size_t t = 0; t + 1 < window.size(); ++t) {
      const auto row = static_cast<std::ptrdiff_t>(t * vocab);
      const auto target = row + window[t + 1];
      nll -= q[static_cast<std::size_t>(target)];
      base_nll -= p[static_cast<std::size_t>(target)];
      delta += p[static_cast<std::size_t>(target)] - q[static_cast<std::size_t>(target)];
      double sum = 0;
      for (std::size_t v = t * vocab; v < (t + 1) * vocab; ++v) sum += std::exp(p[v]) * (p[v] - q[v]);
      all_kl.push_back(sum);
      kl += sum;
      const auto end = row + static_cast<std::ptrdiff_t>(vocab);
      agreed += std::max_element(p.begin() + row, p.begin() + end) - p.begin() ==
                        std::max_element(q.begin() + row, q.begin() + end) - q.begin()
                    ? 1
                    : 0;
      ++tokens;
    }
    deltas.emplace_back(delta, static_cast<double>(window.size() - 1));
  }
  // Small memory for hidden states: several turns over the weights.
  for (const std::uint64_t hidden_bytes : {std::uint64_t{1} << 30, std::uint64_t{20000}}) {
    const Scores scores = compare(*other_, &*base_, windows_, {.hidden_bytes = hidden_bytes});
    EXPECT_EQ(scores.tokens, static_cast<std::int64_t>(tokens));
    // Logits of two orders of sums differ by kBatchLogits at most, and so do their means.
    EXPECT_NEAR(scores.nll, nll / tokens, tolerance::kBatchLogits);
    EXPECT_NEAR(scores.base_nll, base_nll / tokens, tolerance::kBatchLogits);
    EXPECT_NEAR(scores.kl_mean, kl / tokens, tolerance::kBatchLogits);
    EXPECT_NEAR(scores.delta_nll_mean, scores.nll - scores.base_nll, tolerance::kDoubleSum);
    EXPECT_NEAR(scores.top1_agreement, agreed / tokens, 1.5 / tokens);  // one near tie may flip
    std::sort(all_kl.begin(), all_kl.end());
    EXPECT_NEAR(scores.kl_p99, all_kl[static_cast<std::size_t>(0.99 * (tokens - 1))], tolerance::kBatchLogits);
    double squares = 0;
    for (const auto& [delta, count] : deltas) squares += std::pow(delta - scores.delta_nll_mean * count, 2);
    const double windows = static_cast<double>(deltas.size());
    EXPECT_NEAR(scores.delta_nll_stderr, std::sqrt(squares * windows / (windows - 1)) / tokens,
                tolerance::kBatchLogits);
  }
}

TEST_F(Compare, AModelAgainstItself) {
  const Scores scores = compare(*base_, &*base_, windows_, {});
  EXPECT_EQ(scores.kl_mean, 0);
  EXPECT_EQ(scores.delta_nll_mean, 0);
  EXPECT_EQ(scores.delta_nll_stderr, 0);
  EXPECT_EQ(scores.top1_agreement, 1);
}

TEST_F(Compare, ReportsProgressToTheEnd) {
  std::int64_t last = 0;
  std::int64_t total = 0;
  CompareOptions options;
  options.on_progress = [&](std::int64_t done, std::int64_t all) {
    EXPECT_EQ(done, last + 1);
    last = done;
    total = all;
  };
  compare(*base_, nullptr, windows_, options);
  EXPECT_EQ(last, total);
}

TEST_F(Compare, RefusesOtherVocabularies) {
  const auto qwen = model::ModelFiles::open(test::golden_models()[2]);
  EXPECT_THROW(compare(qwen, &*base_, windows_, {}), Error);
}

TEST_F(Compare, SeveralModelsAtOnceScoreAsEachAlone) {
  const model::WeightSource* const models[] = {&*other_, &*base_};
  const std::vector<Scores> together = compare_all(models, &*base_, windows_, {});
  const Scores alone = compare(*other_, &*base_, windows_, {});
  EXPECT_EQ(together[0].kl_mean, alone.kl_mean);
  EXPECT_EQ(together[0].nll, alone.nll);
  EXPECT_EQ(together[0].kl_stderr, alone.kl_stderr);
  EXPECT_GT(alone.kl_stderr, 0);
  EXPECT_EQ(together[1].nll, together[0].base_nll);
  EXPECT_EQ(together[1].top1_agreement, 1);
  EXPECT_LT(together[1].kl_mean, tolerance::kDoubleSum);
  EXPECT_EQ(together[1].delta_nll_stderr, 0);
}

}  // namespace
}  // namespace awq::eval
