#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/request.h"
#include "ops/draw.h"

namespace awq::engine {

/// What a pick depends on beside the logits. Nothing of other sequences, of threads or of time is in it.
struct PickContext {
  const SamplingParams* params = nullptr;
  std::span<const std::int32_t> ids;  ///< prompt and output so far
  std::int64_t prompt_count = 0;
  std::int64_t choice = 0;
  TokenConstraint* constraint = nullptr;
};

/// Whether the end of `output` is a pattern that `rule` looks for, often enough. O(max_pattern_size) comparisons where
/// nothing repeats, at most max_pattern_size times the output's length.
bool repeats(std::span<const std::int32_t> output, const RepetitionRule& rule);

/// A picked token and, when params->logprobs is set, its log probability and the likeliest alternatives (or those that
/// params->logprob_token_ids names).
struct Picked {
  std::int32_t id = -1;         ///< -1: `error` says why nothing could be picked
  const char* error = nullptr;  ///< static text
  TokenLogprob logprob;
  std::span<const TokenLogprob> top;  ///< valid until the next call of the sampler
};

/// True when a pick at place `position` of the output is draw_rule() on the logits as they are: no rule changes one, no
/// log probabilities are asked for. (Constraints are the caller's to know.)
bool draws_plainly(const SamplingParams& params, std::int64_t position);

/// How number `position` of a choice is drawn, the likeliest at temperature 0. Its random bits are a function of seed +
/// choice and of the position.
ops::DrawRule draw_rule(const SamplingParams& params, std::int64_t choice, std::int64_t position);

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
  /// The pick of a model that drew it itself (StepModel::draw); -1: the logits were not finite.
  Picked take(std::int32_t id) const;
  /// Log probability of `id` under `logits` and the `count` likeliest (-1: all), ordered; the span is valid until
  /// the next call.
  TokenLogprob logprob(std::span<const float> logits, std::int32_t id, std::int64_t count,
                       std::span<const TokenLogprob>& top);

 private:
  TokenLogprob raw_logprob(std::int32_t id, double log_sum) const;
  bool apply_constraint(std::span<float> logits, TokenConstraint& constraint);
  void apply_rules(std::span<float> logits, const PickContext& context);
  void apply_penalties(std::span<float> logits, const PickContext& context);

  struct Candidate {
    float logit;
    std::int32_t id;
  };
  static bool likelier(const Candidate& a, const Candidate& b);

  ops::Drawer drawer_;
  std::vector<std::int32_t> eos_token_ids_;
  std::vector<std::uint32_t> mask_;  ///< [ceil(vocab / 32)]
  std::vector<Candidate> candidates_;
  std::vector<TokenLogprob> top_;
  std::vector<std::int32_t> counts_;  ///< [vocab] occurrences in the output; zero between calls
  std::vector<std::uint8_t> seen_;    ///< [vocab] in prompt or output; zero between calls
  std::vector<float> kept_;           ///< logits of allowed ids, set aside
};

}  // namespace awq::engine
