#include "engine/request.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace awq::engine {
namespace {

const RequestLimits kLimits{.vocab_size = 100, .max_model_len = 32};

std::string field_of(const std::function<void(Request&)>& change) {
  Request request{.prompt = {1, 2, 3}};
  change(request);
  const auto problem = find_problem(request, kLimits);
  if (problem.has_value()) {
    EXPECT_NE(problem->message.find("expected"), std::string::npos) << problem->message;
  }
  return problem.has_value() ? problem->field : "";
}

TEST(FindProblem, NamesTheFirstFieldOutOfRange) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(field_of([](Request&) {}), "");
  EXPECT_EQ(field_of([&](Request& r) { r.sampling.temperature = nan; }), "temperature");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.temperature = 2.5; }), "temperature");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.top_p = 0; }), "top_p");
  EXPECT_EQ(field_of([&](Request& r) { r.sampling.top_p = nan; }), "top_p");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.top_k = -1; }), "top_k");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.min_p = 1.5; }), "min_p");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.presence_penalty = -2.1; }), "presence_penalty");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.frequency_penalty = 3; }), "frequency_penalty");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.repetition_penalty = 0; }), "repetition_penalty");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.bias = {{1, 101.0F}}; }), "logit_bias");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.logprobs = 21; }), "logprobs");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.prompt_logprobs = -1; }), "prompt_logprobs");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.repetition = {.max_pattern_size = 1025}; }), "repetition_detection");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.repetition = {.max_pattern_size = 2, .min_pattern_size = 3}; }),
            "repetition_detection");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.repetition = {.max_pattern_size = 2, .min_count = 1}; }),
            "repetition_detection");
  EXPECT_EQ(field_of([](Request& r) {
              r.sampling.logprobs = 0, r.sampling.logprob_token_ids = std::vector<std::int32_t>(129, 1);
            }),
            "logprob_token_ids");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.bad_words = {{}}; }), "bad_words");
  EXPECT_EQ(field_of([](Request& r) { r.n = 0; }), "n");
  EXPECT_EQ(field_of([](Request& r) { r.n = 129; }), "n");
  EXPECT_EQ(field_of([](Request& r) { r.n = 2, r.sampling.temperature = 0; }), "n");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.max_tokens = -1; }), "max_tokens");
  EXPECT_EQ(field_of([](Request& r) { r.sampling.min_tokens = 17; }), "min_tokens");
}

TEST(FindProblem, IdsHaveToBeInTheVocabulary) {
  for (const std::int32_t id : {-1, 100}) {
    Request prompt{.prompt = {1, id}};
    EXPECT_EQ(find_problem(prompt, kLimits).value().field, "prompt");
    Request request{.prompt = {1}};
    request.sampling.stop_token_ids = {id};
    EXPECT_EQ(find_problem(request, kLimits).value().field, "stop_token_ids");
    request.sampling.stop_token_ids = {};
    request.sampling.allowed_token_ids = {id};
    EXPECT_EQ(find_problem(request, kLimits).value().field, "allowed_token_ids");
    request.sampling.allowed_token_ids = {};
    request.sampling.logprobs = 1;
    request.sampling.logprob_token_ids = {id};
    EXPECT_EQ(find_problem(request, kLimits).value().field, "logprob_token_ids");
    request.sampling.logprob_token_ids = {};
    request.sampling.bias = {{id, 0.0F}};
    EXPECT_EQ(find_problem(request, kLimits).value().field, "logit_bias");
  }
}

TEST(FindProblem, PromptAndOutputFitTheContext) {
  Request request{.prompt = std::vector<std::int32_t>(16, 1)};
  EXPECT_FALSE(find_problem(request, kLimits).has_value());
  request.prompt.push_back(1);
  EXPECT_EQ(find_problem(request, kLimits).value().field, "max_tokens");
  request.sampling.max_tokens = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(find_problem(request, kLimits).value().field, "max_tokens");
  request.prompt.clear();
  EXPECT_EQ(find_problem(request, kLimits).value().field, "prompt");
}

}  // namespace
}  // namespace awq::engine
