#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "awq/error.h"
#include "base/random.h"
#include "tolerances.h"

namespace awq::generate {
namespace {

/// How often each id is drawn in `draws` picks.
std::map<std::int32_t, int> counts(const SamplingOptions& options, const std::vector<float>& logits, int draws,
                                   const std::vector<std::int32_t>& history = {}) {
  Sampler sampler(options);
  std::map<std::int32_t, int> out;
  for (int i = 0; i < draws; ++i) ++out[sampler.pick(logits, history)];
  return out;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestOfEqualIds) {
  Sampler sampler({});
  EXPECT_EQ(sampler.pick(std::vector<float>{1, 3, 2}, {}), 1);
  EXPECT_EQ(sampler.pick(std::vector<float>{5, 7, 7, 7}, {}), 1);
  EXPECT_EQ(sampler.pick(std::vector<float>{-1, -1}, {}), 0);
}

TEST(Sampler, SoftmaxDistributionByChiSquare) {
  const std::vector<float> logits = {0.3F, -1, 2, 1.1F, 0, -0.4F, 1.7F, 0.9F};
  for (const double temperature : {0.7, 1.0, 1.8}) {
    std::vector<double> p;
    double sum = 0;
    for (const float logit : logits) sum += p.emplace_back(std::exp(logit / temperature));
    constexpr int kDraws = 40000;
    std::map<std::int32_t, int> seen = counts({.temperature = temperature, .seed = 11}, logits, kDraws);
    double chi_square = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double expected = kDraws * p[i] / sum;
      chi_square += std::pow(seen[static_cast<std::int32_t>(i)] - expected, 2) / expected;
    }
    EXPECT_LT(chi_square, tolerance::kChiSquare7) << temperature;
  }
}

TEST(Sampler, TopKKeepsTheLikeliest) {
  const std::vector<float> logits = {0, 3, 1, 2.5F};
  const auto seen = counts({.temperature = 2, .top_k = 2, .seed = 1}, logits, 500);
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_TRUE(seen.contains(1) && seen.contains(3));
  EXPECT_EQ(counts({.temperature = 9, .top_k = 1}, logits, 50).size(), 1U);
  EXPECT_EQ(counts({.temperature = 9, .top_k = 100}, logits, 2000).size(), 4U);
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const std::vector<float> logits = {std::log(0.5F), std::log(0.25F), std::log(0.125F), std::log(0.125F)};
  EXPECT_EQ(counts({.temperature = 1, .top_p = 0.4}, logits, 300).size(), 1U);
  EXPECT_EQ(counts({.temperature = 1, .top_p = 0.7}, logits, 300).size(), 2U);
  EXPECT_EQ(counts({.temperature = 1, .top_p = 0.8}, logits, 1000).size(), 3U);
  EXPECT_EQ(counts({.temperature = 1, .top_p = 1}, logits, 1000).size(), 4U);
}

TEST(Sampler, MinPIsRelativeToTheLikeliest) {
  const std::vector<float> logits = {std::log(0.6F), std::log(0.3F), std::log(0.1F)};
  EXPECT_EQ(counts({.temperature = 1, .min_p = 0.6}, logits, 300).size(), 1U);
  EXPECT_EQ(counts({.temperature = 1, .min_p = 0.4}, logits, 300).size(), 2U);
  EXPECT_EQ(counts({.temperature = 1, .min_p = 0.1}, logits, 1000).size(), 3U);
}

TEST(Sampler, PenaltyDividesPositiveAndMultipliesNegativeLogits) {
  // 3 / 2 < 2, and -1 * 2 < -1.5; twice in the history counts once.
  const std::vector<std::int32_t> history = {0, 0, 0};
  Sampler sampler({.repetition_penalty = 2});
  EXPECT_EQ(sampler.pick(std::vector<float>{3, 2}, history), 1);
  EXPECT_EQ(sampler.pick(std::vector<float>{3, 1.4F}, history), 0);
  EXPECT_EQ(sampler.pick(std::vector<float>{-1, -1.5F}, history), 1);
  EXPECT_EQ(sampler.pick(std::vector<float>{-1, -2.5F}, history), 0);
}

TEST(Sampler, SeedDecides) {
  std::vector<float> logits(50);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(uniform(1, i));
  const auto draw = [&](std::uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<std::int32_t> out;
    for (int i = 0; i < 30; ++i) out.push_back(sampler.pick(logits, {}));
    return out;
  };
  EXPECT_EQ(draw(5), draw(5));
  EXPECT_NE(draw(5), draw(6));
}

TEST(Sampler, ExtremeLogitsStayInRange) {
  const std::vector<float> logits = {-1e30F, 1e30F, -3e38F};
  EXPECT_EQ(counts({.temperature = 1e-3}, logits, 10).size(), 1U);
  EXPECT_EQ(counts({.temperature = 1e-3}, logits, 10).begin()->first, 1);
}

TEST(CheckSampling, NamesTheOption) {
  const auto error_of = [](const SamplingOptions& options) -> std::string {
    try {
      check_sampling(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(error_of({}), "");
  EXPECT_NE(error_of({.temperature = -1}).find("--temperature"), std::string::npos);
  EXPECT_NE(error_of({.temperature = std::nan("")}).find("--temperature"), std::string::npos);
  EXPECT_NE(error_of({.top_k = -1}).find("--top-k"), std::string::npos);
  EXPECT_NE(error_of({.top_p = 0}).find("--top-p"), std::string::npos);
  EXPECT_NE(error_of({.top_p = std::nan("")}).find("--top-p"), std::string::npos);
  EXPECT_NE(error_of({.min_p = 2}).find("--min-p"), std::string::npos);
  EXPECT_NE(error_of({.repetition_penalty = 0}).find("--repetition-penalty"), std::string::npos);
}

}  // namespace
}  // namespace awq::generate
