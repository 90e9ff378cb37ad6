// Microseconds of one pick from random logits by the sampler: sampler_bench [VOCABULARY...]

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numbers>
#include <vector>

#include "base/random.h"
#include "base/resources.h"
#include "engine/sampler.h"

namespace {

/// Logits like a language model's: normal, deviation 2.5, and a few that stand out.
std::vector<float> random_logits(std::size_t count) {
  std::vector<float> out(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double a = awq::uniform(1, 2 * i), b = awq::uniform(1, 2 * i + 1);
    out[i] = static_cast<float>(2.5 * std::sqrt(-2 * std::log(1 - a)) * std::cos(2 * std::numbers::pi * b));
  }
  for (std::size_t i = 0; i < 5; ++i) out[i * count / 5] += 8;
  return out;
}

double microseconds(const awq::engine::SamplingParams& params, const std::vector<float>& logits) {
  awq::engine::Sampler sampler(static_cast<std::int64_t>(logits.size()), {});
  std::vector<std::int32_t> ids = {0};
  std::vector<float> row;
  double best = 1e9;
  for (int i = 0; i < 200; ++i) {
    row = logits;
    const double begin = awq::monotonic_seconds();
    const auto picked = sampler.pick(row, {.params = &params, .ids = ids, .prompt_count = 1});
    best = std::min(best, awq::monotonic_seconds() - begin);
    ids.push_back(picked.id);
  }
  return best * 1e6;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::size_t> sizes;
  for (int i = 1; i < argc; ++i) sizes.push_back(static_cast<std::size_t>(std::atoll(argv[i])));
  if (sizes.empty()) sizes = {32000, 128256};
  std::printf("%10s %9s %9s %12s %11s %11s\n", "vocabulary", "greedy", "T 1", "T 1 top_p.9", "T .7 top_k", "T 1 min_p");
  for (const std::size_t size : sizes) {
    const std::vector<float> logits = random_logits(size);
    const auto time = [&](double temperature, std::int64_t top_k, double top_p, double min_p) {
      awq::engine::SamplingParams params;
      params.temperature = temperature;
      params.top_k = top_k;
      params.top_p = top_p;
      params.min_p = min_p;
      return microseconds(params, logits);
    };
    std::printf("%10zu %9.1f %9.1f %12.1f %11.1f %11.1f\n", size, time(0, 0, 1, 0), time(1, 0, 1, 0),
                time(1, 0, 0.9, 0), time(0.7, 40, 0.95, 0), time(1, 0, 1, 0.05));
  }
  return 0;
}
