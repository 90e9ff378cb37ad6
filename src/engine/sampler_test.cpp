#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "tolerances.h"

namespace awq::engine {
namespace {

/// A sequence that grows by what is picked.
class Text {
 public:
  explicit Text(const SamplingParams& params, std::vector<std::int32_t> prompt = {0}, std::int64_t choice = 0)
      : params_(params), ids_(std::move(prompt)), prompt_(static_cast<std::int64_t>(ids_.size())), choice_(choice) {}
  Picked pick(Sampler& sampler, std::vector<float> logits) {
    const Picked out =
        sampler.pick(logits, {.params = &params_, .ids = ids_, .prompt_count = prompt_, .choice = choice_});
    ids_.push_back(out.id);
    return out;
  }

 private:
  SamplingParams params_;
  std::vector<std::int32_t> ids_;
  std::int64_t prompt_, choice_;
};

/// The id picked after `prompt` and `output`.
std::int32_t picked(const SamplingParams& params, std::vector<float> logits, std::vector<std::int32_t> prompt = {0},
                    const std::vector<std::int32_t>& output = {}) {
  Sampler sampler(static_cast<std::int64_t>(logits.size()), std::vector<std::int32_t>{0});
  const auto prompt_count = static_cast<std::int64_t>(prompt.size());
  prompt.insert(prompt.end(), output.begin(), output.end());
  return sampler.pick(logits, {.params = &params, .ids = prompt, .prompt_count = prompt_count}).id;
}

/// How often each id is drawn in `draws` picks.
std::map<std::int32_t, int> counts(const SamplingParams& params, const std::vector<float>& logits, int draws) {
  Sampler sampler(static_cast<std::int64_t>(logits.size()), {});
  Text text(params);
  std::map<std::int32_t, int> out;
  for (int i = 0; i < draws; ++i) ++out[text.pick(sampler, logits).id];
  return out;
}

TEST(Sampler, GreedyTakesTheLargestAndTheLowestOfEqualIds) {
  const SamplingParams greedy{.temperature = 0};
  EXPECT_EQ(picked(greedy, {1, 3, 2}), 1);
  EXPECT_EQ(picked(greedy, {5, 7, 7, 7}), 1);
  EXPECT_EQ(picked(greedy, {-1, -1}), 0);
  std::vector<float> many(1000, 0.5F);  // more than the lanes of the search, with a tail
  many[997] = many[999] = 2;
  EXPECT_EQ(picked(greedy, many), 997);
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

TEST(Sampler, RepetitionDividesPositiveAndMultipliesNegativeLogits) {
  // 3 / 2 < 2, and -1 * 2 < -1.5; twice counts once, prompt and output alike.
  const SamplingParams params{.temperature = 0, .repetition_penalty = 2};
  EXPECT_EQ(picked(params, {3, 2}, {0, 0, 0}), 1);
  EXPECT_EQ(picked(params, {3, 1.4F}, {0}), 0);
  EXPECT_EQ(picked(params, {-1, -1.5F}, {0}), 1);
  EXPECT_EQ(picked(params, {-1, -2.5F}, {0}), 0);
  EXPECT_EQ(picked(params, {3, 2, 0}, {2}, {0}), 1);
}

TEST(Sampler, PresenceAndFrequencyCountTheOutputAlone) {
  const SamplingParams presence{.temperature = 0, .presence_penalty = 1};
  EXPECT_EQ(picked(presence, {2, 1.5F}, {0, 0}), 0);
  EXPECT_EQ(picked(presence, {2, 1.5F}, {1}, {0}), 1);
  EXPECT_EQ(picked(presence, {2, 0.5F}, {1}, {0, 0, 0}), 0);
  const SamplingParams frequency{.temperature = 0, .frequency_penalty = 0.5};
  EXPECT_EQ(picked(frequency, {2, 0.9F}, {0, 0, 0}), 0);
  EXPECT_EQ(picked(frequency, {2, 0.9F}, {1}, {0, 0}), 0);
  EXPECT_EQ(picked(frequency, {2, 0.9F}, {1}, {0, 0, 0}), 1);
  const SamplingParams reward{.temperature = 0, .presence_penalty = -2};
  EXPECT_EQ(picked(reward, {2, 0.5F}, {0}, {1}), 1);
}

TEST(Sampler, BiasListsAndWords) {
  SamplingParams params{.temperature = 0};
  params.bias = {{0, -100.0F}, {2, 1.0F}};
  EXPECT_EQ(picked(params, {50, 1, 0.5F}), 2);
  params = {.temperature = 0};
  params.allowed_token_ids = {1, 3};
  EXPECT_EQ(picked(params, {9, 1, 8, 2}), 3);
  params = {.temperature = 0};
  params.bad_words = {{2}, {3, 1}};
  EXPECT_EQ(picked(params, {0, 5, 9, 1}, {0}, {0}), 1);
  EXPECT_EQ(picked(params, {0, 5, 9, 1}, {0}, {3}), 3) << "3 1 would complete a bad word";
  EXPECT_EQ(picked(params, {0, 5, 9, 1}, {3}, {}), 1) << "the prompt is no part of it";
}

TEST(Sampler, MinTokensHoldBackTheEnd) {
  SamplingParams params{.temperature = 0, .min_tokens = 2};  // 0 is the end of a text
  params.stop_token_ids = {1};
  EXPECT_EQ(picked(params, {9, 8, 1}, {2}), 2);
  EXPECT_EQ(picked(params, {9, 8, 1}, {2}, {2}), 2);
  EXPECT_EQ(picked(params, {9, 8, 1}, {2}, {2, 2}), 0);
  params.ignore_eos = true;
  EXPECT_EQ(picked(params, {9, 8, 1}, {2}), 0);
}

TEST(Sampler, SeedChoiceAndPositionDecide) {
  std::vector<float> logits(50);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(uniform(1, i));
  const auto draw = [&](std::uint64_t seed, std::int64_t choice) {
    Sampler sampler(50, {});
    Text text({.seed = seed}, {0}, choice);
    std::vector<std::int32_t> out;
    for (int i = 0; i < 30; ++i) out.push_back(text.pick(sampler, logits).id);
    return out;
  };
  EXPECT_EQ(draw(5, 0), draw(5, 0));
  EXPECT_NE(draw(5, 0), draw(6, 0));
  EXPECT_EQ(draw(5, 1), draw(6, 0)) << "choice i draws with seed + i";
}

TEST(Sampler, ExtremeLogitsStayInRange) {
  const std::vector<float> logits = {-1e30F, 1e30F, -3e38F};
  EXPECT_EQ(counts({.temperature = 1e-3}, logits, 10).size(), 1U);
  EXPECT_EQ(counts({.temperature = 1e-3}, logits, 10).begin()->first, 1);
}

TEST(Sampler, WhatCannotBePickedIsSaid) {
  Sampler sampler(2, {});
  Text text({.temperature = 0});
  EXPECT_NE(std::string(text.pick(sampler, {1, std::nanf("")}).error).find("damaged"), std::string::npos);
  EXPECT_NE(std::string(text.pick(sampler, {INFINITY, 1}).error).find("damaged"), std::string::npos);
  SamplingParams params{.temperature = 0, .min_tokens = 1};
  params.stop_token_ids = {0, 1};
  EXPECT_NE(Text(params).pick(sampler, {1, 2}).error, nullptr);
}

TEST(Sampler, LogprobsAreOfTheRawLogits) {
  SamplingParams params{.temperature = 0};
  params.logprobs = 2;
  params.bias = {{1, -50.0F}};
  Sampler sampler(4, {});
  // Probabilities 0.1, 0.6, 0.2, 0.1 before the bias.
  const std::vector<float> logits = {std::log(0.1F), std::log(0.6F), std::log(0.2F), std::log(0.1F)};
  const Picked got = Text(params).pick(sampler, logits);
  EXPECT_EQ(got.id, 2);
  EXPECT_NEAR(got.logprob.logprob, std::log(0.2), tolerance::kElementwise * 10);
  EXPECT_EQ(got.logprob.rank, 2);
  ASSERT_EQ(got.top.size(), 2U);
  EXPECT_EQ(got.top[0].id, 1);
  EXPECT_NEAR(got.top[0].logprob, std::log(0.6), tolerance::kElementwise * 10);
  EXPECT_EQ(got.top[1].id, 2);
  EXPECT_EQ(got.top[1].rank, 2);
  params.logprobs = -1;
  EXPECT_EQ(Text(params).pick(sampler, logits).top.size(), 4U);
  params.logprobs = 0;
  EXPECT_TRUE(Text(params).pick(sampler, logits).top.empty());
}

TEST(Sampler, NamedIdsReplaceTheLikeliest) {
  SamplingParams params{.temperature = 0};
  params.logprobs = 3;
  params.logprob_token_ids = {0, 3};
  params.bias = {{1, -50.0F}};
  Sampler sampler(4, {});
  const std::vector<float> logits = {std::log(0.08F), std::log(0.6F), std::log(0.2F), std::log(0.12F)};
  const Picked got = Text(params).pick(sampler, logits);
  EXPECT_EQ(got.id, 2);
  ASSERT_EQ(got.top.size(), 3U);  // the chosen one too; the likeliest has no place
  const std::pair<std::int32_t, double> expected[] = {{2, 0.2}, {3, 0.12}, {0, 0.08}};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(got.top[i].id, expected[i].first);
    EXPECT_NEAR(got.top[i].logprob, std::log(expected[i].second), tolerance::kElementwise * 10);
    EXPECT_EQ(got.top[i].rank, static_cast<std::int64_t>(i) + 2);
  }
  params.logprob_token_ids = {2};
  EXPECT_EQ(Text(params).pick(sampler, logits).top.size(), 1U);
}

TEST(Repeats, PatternsAtTheEnd) {
  const auto found = [](std::vector<std::int32_t> output, RepetitionRule rule) { return repeats(output, rule); };
  const RepetitionRule rule{.max_pattern_size = 3, .min_pattern_size = 1, .min_count = 3};
  EXPECT_FALSE(found({}, rule));
  EXPECT_FALSE(found({7, 7}, rule));
  EXPECT_TRUE(found({7, 7, 7}, rule));
  EXPECT_FALSE(found({7, 7, 7, 1}, rule));  // no longer at the end
  EXPECT_FALSE(found({1, 2, 1, 2, 1}, rule));
  EXPECT_TRUE(found({9, 1, 2, 1, 2, 1, 2}, rule));
  EXPECT_TRUE(found({1, 2, 3, 1, 2, 3, 1, 2, 3}, rule));
  EXPECT_FALSE(found({2, 2, 3, 1, 2, 3, 1, 2, 3}, rule));
  EXPECT_FALSE(found({1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4}, rule));  // longer than asked for
  EXPECT_FALSE(found({7, 7, 7, 7}, {.max_pattern_size = 3, .min_pattern_size = 2, .min_count = 3}));
  EXPECT_TRUE(found({7, 7, 7, 7, 7, 7}, {.max_pattern_size = 3, .min_pattern_size = 2, .min_count = 3}));
  EXPECT_FALSE(found({7, 7, 7}, {}));
  EXPECT_FALSE(found({7, 7, 7}, {.max_pattern_size = 2, .min_count = std::numeric_limits<std::int64_t>::max()}));
}

/// Allows the ids of a list, one a token.
struct Dictation : TokenConstraint {
  std::vector<std::int32_t> ids;
  std::size_t at = 0;
  explicit Dictation(std::vector<std::int32_t> list) : ids(std::move(list)) {}
  void allowed(std::span<std::uint32_t> mask) override {
    std::fill(mask.begin(), mask.end(), 0U);
    if (at < ids.size()) mask[static_cast<std::size_t>(ids[at]) / 32] |= 1U << (ids[at] % 32);
  }
  void accept(std::int32_t id) override { at += ids.at(at) == id ? 1 : 1000; }
  bool finished() const override { return at == ids.size(); }
};

TEST(Sampler, ConstraintComesBeforeLogprobs) {
  Dictation constraint({3});
  SamplingParams params{.temperature = 0};
  params.logprobs = 1;
  Sampler sampler(40, {});
  std::vector<float> logits(40, 1.0F);
  const std::vector<std::int32_t> ids = {0};
  const Picked got =
      sampler.pick(logits, {.params = &params, .ids = ids, .prompt_count = 1, .constraint = &constraint});
  EXPECT_EQ(got.id, 3);
  EXPECT_EQ(got.logprob.logprob, 0);
  Dictation nothing({});
  logits.assign(40, 1.0F);
  EXPECT_NE(sampler.pick(logits, {.params = &params, .ids = ids, .prompt_count = 1, .constraint = &nothing}).error,
            nullptr);
}

}  // namespace
}  // namespace awq::engine
