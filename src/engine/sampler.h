#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"

namespace awq::engine {

/// What a pick depends on beside the logits. Nothing of other sequences, of threads or of time is in it.
struct PickContext {
  const SamplingParams* params = nullptr;
  std::span<const std::int32_t> ids;  ///< prompt and output so far
  std::int64_t prompt_count = 0;
  std::int64_t choice = 0;
  TokenConstraint* constraint = nullptr;
};

/// A picked token and, when params->logprobs is set, its log probability and the likeliest alternatives.
struct Picked {
  std::int32_t id = -1;         ///< -1: `error` says why nothing could be picked
  const char* error = nullptr;  ///< static text
  TokenLogprob logprob;
  std::span<const TokenLogprob> top;  ///< valid until the next call of the sampler
};

/// True when a pick at place `position` of the output is the largest logit as it is: no draw, no rule that changes one,
/// no log probabilities. (Constraints are the caller's to know.)
bool takes_largest(const SamplingParams& params, std::int64_t position);

/// Picks tokens from logits. Order of work, that of vLLM: constraint; log probabilities; allowed ids, bad words,
/// minimum length, bias; repetition, frequency and presence penalties; then the largest (the lowest id among equals),
/// or temperature, min_p, top_k, top_p and a draw. Draw number p of a choice is a function of seed + choice and p, its
/// position in the output: the same alone, in a batch, after preemption and under speculation. Owns scratch memory;
/// allocates nothing after construction.
class Sampler {
 public:
  Sampler(std::int64_t vocab_size, std::span<const std::int32_t> eos_token_ids);

  /// `logits` [vocab_size] are overwritten.
  Picked pick(std::span<float> logits, const PickContext& context);
  /// The pick of a model that found the largest logit of a row itself (StepModel::greedy); -1: it is not finite.
  Picked take(std::int32_t id) const;
  /// Log probability of `id` under `logits` and the `count` likeliest (-1: all), ordered; the span is valid until
  /// the next call.
  TokenLogprob logprob(std::span<const float> logits, std::int32_t id, std::int64_t count,
                       std::span<const TokenLogprob>& top);

 private:
  bool apply_constraint(std::span<float> logits, TokenConstraint& constraint);
  void apply_rules(std::span<float> logits, const PickContext& context);
  void apply_penalties(std::span<float> logits, const PickContext& context);
  std::int32_t draw(std::span<const float> logits, const PickContext& context);

  struct Candidate {
    float logit;
    std::int32_t id;
    double weight;
  };
  static bool likelier(const Candidate& a, const Candidate& b);
  void keep_top_p(double top_p);

  std::vector<std::int32_t> eos_token_ids_;
  std::vector<std::uint32_t> mask_;  ///< [ceil(vocab / 32)]
  std::vector<Candidate> candidates_;
  std::vector<TokenLogprob> top_;
  std::vector<std::int32_t> counts_;  ///< [vocab] occurrences in the output; zero between calls
  std::vector<std::uint8_t> seen_;    ///< [vocab] in prompt or output; zero between calls
  std::vector<float> kept_;           ///< logits of allowed ids, set aside
};

}  // namespace awq::engine
