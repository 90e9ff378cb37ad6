#include "engine/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/random.h"

namespace awq::engine {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
// Smaller temperatures overflow what they divide; vLLM raises them too.
constexpr double kLowestTemperature = 0.01;
constexpr const char* kNotFinite =
    "the model gives no finite probabilities: weights are damaged; awq inspect --deep looks for them";

bool all_finite(std::span<const float> logits) {
  std::uint32_t bad = 0;
  for (const float v : logits)
    bad |= static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(v) & 0x7F800000U) == 0x7F800000U);
  return bad == 0;
}

}  // namespace

Sampler::Sampler(std::int64_t vocab_size, std::span<const std::int32_t> eos_token_ids)
    : drawer_(vocab_size), eos_token_ids_(eos_token_ids.begin(), eos_token_ids.end()) {
  const auto vocab = static_cast<std::size_t>(vocab_size);
  mask_.resize((vocab + 31) / 32);
  candidates_.reserve(vocab);
  top_.reserve(vocab);
  counts_.resize(vocab);
  seen_.resize(vocab);
  kept_.reserve(vocab);
}

bool repeats(std::span<const std::int32_t> output, const RepetitionRule& rule) {
  const auto length = static_cast<std::int64_t>(output.size());
  for (std::int64_t size = rule.min_pattern_size; size <= rule.max_pattern_size; ++size) {
    if (rule.min_count > length / size) return false;  // longer patterns need more text still
    const std::int64_t compared = size * (rule.min_count - 1);
    const auto end = output.end();
    if (std::equal(end - compared, end, end - compared - size)) return true;
  }
  return false;
}

bool draws_plainly(const SamplingParams& params, std::int64_t position) {
  return !params.logprobs.has_value() && params.bias.empty() && params.allowed_token_ids.empty() &&
         params.bad_words.empty() && position >= params.min_tokens && params.presence_penalty == 0 &&
         params.frequency_penalty == 0 && params.repetition_penalty == 1;
}

ops::DrawRule draw_rule(const SamplingParams& params, std::int64_t choice, std::int64_t position) {
  ops::DrawRule out;
  if (params.temperature == 0) return out;
  out.factor = static_cast<float>(1 / std::max(params.temperature, kLowestTemperature));
  out.smallest = std::max(out.smallest, static_cast<float>(params.min_p));
  out.top_k = static_cast<std::int32_t>(std::clamp<std::int64_t>(params.top_k, 0, ops::kMaxDrawnIds));
  out.top_p = params.top_p;
  out.bits = random_bits(params.seed + static_cast<std::uint64_t>(choice), static_cast<std::uint64_t>(position));
  return out;
}

Picked Sampler::take(std::int32_t id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= counts_.size()) return {.error = kNotFinite};
  Picked out;
  out.id = id;
  return out;
}

Picked Sampler::pick(std::span<float> logits, const PickContext& context) {
  const SamplingParams& params = *context.params;
  if (!all_finite(logits)) {
    return {.error = kNotFinite};
  }
  if (context.constraint != nullptr && !apply_constraint(logits, *context.constraint)) {
    return {.error = "the constraint allows no token"};
  }
  // The log probability of what will be picked is not known before the logits are overwritten: what it needs is kept.
  std::span<const TokenLogprob> top;
  double log_sum = 0;
  if (params.logprobs.has_value()) {
    const std::int32_t best = ops::arg_max(logits);
    const std::int64_t count = params.logprob_token_ids.empty() ? *params.logprobs : 0;
    const TokenLogprob first = logprob(logits, best, count, top);
    log_sum = static_cast<double>(logits[static_cast<std::size_t>(best)]) - static_cast<double>(first.logprob);
    kept_.assign(logits.begin(), logits.end());
  }
  apply_rules(logits, context);
  Picked out;
  const std::int64_t position = static_cast<std::int64_t>(context.ids.size()) - context.prompt_count;
  out.id = drawer_.draw(logits, draw_rule(params, context.choice, position));
  if (out.id < 0) return {.error = "bias and allowed ids leave no token"};
  if (params.logprobs.has_value()) {
    out.logprob = raw_logprob(out.id, log_sum);
    out.top = top;
    if (!params.logprob_token_ids.empty()) {
      top_.assign(1, out.logprob);
      for (const std::int32_t id : params.logprob_token_ids) {
        if (id != out.id) top_.push_back(raw_logprob(id, log_sum));
      }
      std::stable_sort(top_.begin(), top_.end(), [](const auto& a, const auto& b) { return a.rank < b.rank; });
      out.top = top_;
    }
  }
  return out;
}

/// Of the logits that were set aside.
TokenLogprob Sampler::raw_logprob(std::int32_t id, double log_sum) const {
  const float raw = kept_[static_cast<std::size_t>(id)];
  return {.id = id,
          .logprob = static_cast<float>(raw - log_sum),
          .rank = 1 + std::count_if(kept_.begin(), kept_.end(), [&](float v) { return v > raw; })};
}

TokenLogprob Sampler::logprob(std::span<const float> logits, std::int32_t id, std::int64_t count,
                              std::span<const TokenLogprob>& top) {
  const double largest = logits[static_cast<std::size_t>(ops::arg_max(logits))];
  double sum = 0;
  for (const float v : logits) sum += std::exp(static_cast<double>(v) - largest);
  const double log_sum = largest + std::log(sum);
  const std::size_t kept = count < 0 ? logits.size() : std::min(logits.size(), static_cast<std::size_t>(count));
  candidates_.clear();
  if (kept > 0) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      candidates_.push_back({logits[i], static_cast<std::int32_t>(i)});
    }
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(kept), candidates_.end(),
                      likelier);
  }
  top_.clear();
  for (std::size_t i = 0; i < kept; ++i) {
    top_.push_back({.id = candidates_[i].id,
                    .logprob = static_cast<float>(static_cast<double>(candidates_[i].logit) - log_sum),
                    .rank = static_cast<std::int64_t>(i) + 1});
  }
  top = top_;
  const float own = logits[static_cast<std::size_t>(id)];
  return {.id = id,
          .logprob = static_cast<float>(static_cast<double>(own) - log_sum),
          .rank = 1 + std::count_if(logits.begin(), logits.end(), [&](float v) { return v > own; })};
}

bool Sampler::apply_constraint(std::span<float> logits, TokenConstraint& constraint) {
  constraint.allowed(mask_);
  bool any = false;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const bool allowed = ((mask_[i / 32] >> (i % 32)) & 1U) != 0;
    any = any || allowed;
    if (!allowed) logits[i] = kNever;
  }
  return any;
}

void Sampler::apply_rules(std::span<float> logits, const PickContext& context) {
  const SamplingParams& params = *context.params;
  const auto forbid = [&](std::int32_t id) { logits[static_cast<std::size_t>(id)] = kNever; };
  if (!params.allowed_token_ids.empty()) {
    for (const std::int32_t id : params.allowed_token_ids) seen_[static_cast<std::size_t>(id)] = 1;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (seen_[i] == 0) logits[i] = kNever;
    }
    for (const std::int32_t id : params.allowed_token_ids) seen_[static_cast<std::size_t>(id)] = 0;
  }
  const auto output = context.ids.subspan(static_cast<std::size_t>(context.prompt_count));
  for (const std::vector<std::int32_t>& word : params.bad_words) {
    const std::size_t before = word.size() - 1;
    if (before <= output.size() &&
        std::equal(word.begin(), word.end() - 1, output.end() - static_cast<std::ptrdiff_t>(before))) {
      forbid(word.back());
    }
  }
  if (static_cast<std::int64_t>(output.size()) < params.min_tokens) {
    if (!params.ignore_eos) std::for_each(eos_token_ids_.begin(), eos_token_ids_.end(), forbid);
    std::for_each(params.stop_token_ids.begin(), params.stop_token_ids.end(), forbid);
  }
  for (const auto& [id, bias] : params.bias) logits[static_cast<std::size_t>(id)] += bias;
  apply_penalties(logits, context);
}

void Sampler::apply_penalties(std::span<float> logits, const PickContext& context) {
  const SamplingParams& params = *context.params;
  const auto repetition = static_cast<float>(params.repetition_penalty);
  const auto frequency = static_cast<float>(params.frequency_penalty);
  const auto presence = static_cast<float>(params.presence_penalty);
  if (repetition == 1 && frequency == 0 && presence == 0) return;
  const auto output = context.ids.subspan(static_cast<std::size_t>(context.prompt_count));
  for (const std::int32_t id : output) ++counts_[static_cast<std::size_t>(id)];
  for (const std::int32_t id : context.ids) {
    const auto i = static_cast<std::size_t>(id);
    if (seen_[i] != 0) continue;
    seen_[i] = 1;
    logits[i] = logits[i] > 0 ? logits[i] / repetition : logits[i] * repetition;
    logits[i] -= frequency * static_cast<float>(counts_[i]);
    if (counts_[i] > 0) logits[i] -= presence;
  }
  for (const std::int32_t id : context.ids) {
    counts_[static_cast<std::size_t>(id)] = 0;
    seen_[static_cast<std::size_t>(id)] = 0;
  }
}

bool Sampler::likelier(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

}  // namespace awq::engine
