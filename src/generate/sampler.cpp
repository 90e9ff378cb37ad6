#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/check.h"
#include "base/random.h"

namespace awq::generate {
namespace {

struct Choice {
  std::int32_t id;
  double probability;
};

std::int32_t arg_max(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace

void check_sampling(const SamplingOptions& o) {
  const auto require = [](bool ok, const char* name, double value, const char* expected) {
    if (!ok) fail(ErrorCode::kInvalidArgument, "--{} {}: expected {}", name, value, expected);
  };
  require(std::isfinite(o.temperature) && o.temperature >= 0, "temperature", o.temperature, "0 or more");
  require(o.top_k >= 0, "top-k", static_cast<double>(o.top_k), "0 or more");
  require(o.top_p > 0 && o.top_p <= 1, "top-p", o.top_p, "more than 0, at most 1");
  require(o.min_p >= 0 && o.min_p <= 1, "min-p", o.min_p, "0 to 1");
  require(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0, "repetition-penalty", o.repetition_penalty,
          "more than 0");
}

Sampler::Sampler(const SamplingOptions& options) : options_(options) { check_sampling(options); }

std::int32_t Sampler::pick(std::span<const float> logits, std::span<const std::int32_t> history) {
  if (!std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); })) {
    fail(ErrorCode::kCorruptFile,
         "the model gives no finite probabilities: weights are damaged; awq inspect --deep looks for them");
  }
  work_.assign(logits.begin(), logits.end());
  if (options_.repetition_penalty != 1) {
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    for (const std::int32_t id : std::set<std::int32_t>(history.begin(), history.end())) {
      float& logit = work_.at(static_cast<std::size_t>(id));
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
  if (options_.temperature == 0) return arg_max(work_);

  const double largest = *std::max_element(work_.begin(), work_.end());
  std::vector<Choice> choices(work_.size());
  for (std::size_t i = 0; i < work_.size(); ++i) {
    choices[i] = {static_cast<std::int32_t>(i), std::exp((work_[i] - largest) / options_.temperature)};
  }
  const auto likelier = [](const Choice& a, const Choice& b) {
    return a.probability != b.probability ? a.probability > b.probability : a.id < b.id;
  };
  std::sort(choices.begin(), choices.end(), likelier);
  if (options_.top_k > 0 && static_cast<std::size_t>(options_.top_k) < choices.size())
    choices.resize(static_cast<std::size_t>(options_.top_k));
  const auto total = [&] {
    return std::accumulate(choices.begin(), choices.end(), 0.0,
                           [](double sum, const Choice& c) { return sum + c.probability; });
  };
  if (options_.top_p < 1) {
    const double limit = options_.top_p * total();
    double sum = 0;
    std::size_t kept = 0;
    while (kept < choices.size() && sum < limit) sum += choices[kept++].probability;
    choices.resize(std::max<std::size_t>(kept, 1));
  }
  if (options_.min_p > 0) {
    const double floor = options_.min_p * choices.front().probability;
    std::erase_if(choices, [&](const Choice& c) { return c.probability < floor; });
  }
  double left = uniform(options_.seed, drawn_++) * total();
  for (const Choice& choice : choices) {
    left -= choice.probability;
    if (left < 0) return choice.id;
  }
  return choices.back().id;
}

}  // namespace awq::generate
