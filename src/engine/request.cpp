#include "engine/request.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace awq::engine {
namespace {

using Problem = std::optional<RequestProblem>;

template <typename T>
Problem out_of_range(const char* field, T value, const char* expected) {
  return RequestProblem{field, fmt::format("{} is {}, expected {}", field, value, expected)};
}

/// [low, high], with NaN outside.
Problem check_number(const char* field, double value, double low, double high) {
  if (value >= low && value <= high) return std::nullopt;
  return RequestProblem{field, fmt::format("{} is {}, expected a number from {} to {}", field, value, low, high)};
}

Problem check_sampling_numbers(const SamplingParams& s) {
  if (auto problem = check_number("temperature", s.temperature, 0, 2)) return problem;
  if (!(s.top_p > 0 && s.top_p <= 1)) return out_of_range("top_p", s.top_p, "more than 0, at most 1");
  if (s.top_k < 0) return out_of_range("top_k", s.top_k, "0 (all) or more");
  if (auto problem = check_number("min_p", s.min_p, 0, 1)) return problem;
  if (auto problem = check_number("presence_penalty", s.presence_penalty, -2, 2)) return problem;
  if (auto problem = check_number("frequency_penalty", s.frequency_penalty, -2, 2)) return problem;
  if (!(s.repetition_penalty > 0 && std::isfinite(s.repetition_penalty))) {
    return out_of_range("repetition_penalty", s.repetition_penalty, "a number above 0");
  }
  return std::nullopt;
}

Problem check_ids(const char* field, std::span<const std::int32_t> ids, std::int64_t vocab_size) {
  const auto bad = std::find_if(ids.begin(), ids.end(), [&](std::int32_t id) { return id < 0 || id >= vocab_size; });
  if (bad == ids.end()) return std::nullopt;
  return RequestProblem{field, fmt::format("{}: token id {} is outside the vocabulary of {}", field, *bad, vocab_size)};
}

Problem check_count(const char* field, std::size_t count, std::int64_t limit) {
  if (static_cast<std::int64_t>(count) <= limit) return std::nullopt;
  return RequestProblem{field, fmt::format("{} has {} entries, expected at most {}", field, count, limit)};
}

Problem check_logprobs(const char* field, const std::optional<std::int64_t>& count, const RequestLimits& limits) {
  if (!count.has_value()) return std::nullopt;
  if (*count == -1 && limits.max_logprobs == -1) return std::nullopt;
  if (*count >= 0 && (limits.max_logprobs == -1 || *count <= limits.max_logprobs)) return std::nullopt;
  return RequestProblem{field, fmt::format("{} is {}, expected 0 to {}", field, *count, limits.max_logprobs)};
}

Problem check_lists(const SamplingParams& s, const RequestLimits& limits) {
  if (auto problem = check_count("logit_bias", s.bias.size(), limits.max_bias)) return problem;
  for (const auto& [id, bias] : s.bias) {
    if (auto problem = check_ids("logit_bias", {&id, 1}, limits.vocab_size)) return problem;
    if (auto problem = check_number("logit_bias", bias, -100, 100)) return problem;
  }
  if (auto problem = check_ids("allowed_token_ids", s.allowed_token_ids, limits.vocab_size)) return problem;
  if (auto problem = check_count("allowed_token_ids", s.allowed_token_ids.size(), limits.vocab_size)) return problem;
  if (auto problem = check_count("stop_token_ids", s.stop_token_ids.size(), limits.max_stop_ids)) return problem;
  if (auto problem = check_ids("stop_token_ids", s.stop_token_ids, limits.vocab_size)) return problem;
  if (auto problem = check_count("bad_words", s.bad_words.size(), limits.max_bad_words)) return problem;
  for (const auto& word : s.bad_words) {
    if (word.empty()) return RequestProblem{"bad_words", "bad_words: expected no empty word"};
    if (auto problem = check_count("bad_words", word.size(), limits.max_bad_words)) return problem;
    if (auto problem = check_ids("bad_words", word, limits.vocab_size)) return problem;
  }
  return std::nullopt;
}

Problem check_repetition(const RepetitionRule& rule, const RequestLimits& limits) {
  if (rule.max_pattern_size == 0) return std::nullopt;
  const char* field = "repetition_detection";
  if (rule.max_pattern_size < 0 || rule.max_pattern_size > limits.max_pattern_size) {
    return RequestProblem{field, fmt::format("max_pattern_size is {}, expected 0 (off) to {}", rule.max_pattern_size,
                                             limits.max_pattern_size)};
  }
  if (rule.min_pattern_size < 1 || rule.min_pattern_size > rule.max_pattern_size) {
    return RequestProblem{field, fmt::format("min_pattern_size is {}, expected 1 to max_pattern_size ({})",
                                             rule.min_pattern_size, rule.max_pattern_size)};
  }
  if (rule.min_count < 2) return out_of_range(field, rule.min_count, "a min_count of 2 or more");
  return std::nullopt;
}

}  // namespace

std::optional<RequestProblem> find_problem(const Request& request, const RequestLimits& limits) {
  const SamplingParams& s = request.sampling;
  const auto prompt = static_cast<std::int64_t>(request.prompt.size());
  if (prompt == 0) return RequestProblem{"prompt", "the prompt is empty"};
  if (auto problem = check_ids("prompt", request.prompt, limits.vocab_size)) return problem;
  if (auto problem = check_sampling_numbers(s)) return problem;
  if (auto problem = check_lists(s, limits)) return problem;
  if (auto problem = check_logprobs("logprobs", s.logprobs, limits)) return problem;
  if (auto problem = check_count("logprob_token_ids", s.logprob_token_ids.size(), limits.max_logprob_ids))
    return problem;
  if (auto problem = check_ids("logprob_token_ids", s.logprob_token_ids, limits.vocab_size)) return problem;
  if (!s.logprob_token_ids.empty() && !s.logprobs.has_value())
    return RequestProblem{"logprob_token_ids", "logprob_token_ids: expected logprobs beside it"};
  if (auto problem = check_repetition(s.repetition, limits)) return problem;
  if (auto problem = check_logprobs("prompt_logprobs", s.prompt_logprobs, limits)) return problem;
  if (request.n < 1 || request.n > limits.max_n) {
    return RequestProblem{"n", fmt::format("n is {}, expected 1 to {}", request.n, limits.max_n)};
  }
  if (request.n > 1 && s.temperature == 0) {
    return RequestProblem{"n", fmt::format("n is {}, expected 1 with temperature 0", request.n)};
  }
  if (s.max_tokens < 0) return out_of_range("max_tokens", s.max_tokens, "0 or more");
  if (s.min_tokens < 0 || s.min_tokens > s.max_tokens) {
    return RequestProblem{"min_tokens",
                          fmt::format("min_tokens is {}, expected 0 to max_tokens ({})", s.min_tokens, s.max_tokens)};
  }
  if (prompt > limits.max_model_len || s.max_tokens > limits.max_model_len - prompt) {
    return RequestProblem{
        "max_tokens", fmt::format("the prompt has {} tokens and max_tokens is {}: together more than the context of {}",
                                  prompt, s.max_tokens, limits.max_model_len)};
  }
  return std::nullopt;
}

}  // namespace awq::engine
