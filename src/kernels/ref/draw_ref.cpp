#include "kernels/ref/draw_ref.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/api/attention.h"

namespace awq::kernels::ref {

std::int32_t draw(std::span<const float> logits, const DrawRule& rule) {
  if (!std::all_of(logits.begin(), logits.end(), [](float v) { return std::isfinite(v); })) return -1;
  const auto best = std::max_element(logits.begin(), logits.end());
  if (rule.factor == 0) return static_cast<std::int32_t>(best - logits.begin());
  struct Candidate {
    float share;
    std::int32_t id;
    std::uint64_t weight;
  };
  std::vector<Candidate> kept;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float share = exp_nonpositive((logits[i] - *best) * rule.factor);
    if (share < rule.smallest) continue;
    kept.push_back({share, static_cast<std::int32_t>(i), static_cast<std::uint64_t>(share * 0x1p40F)});
  }
  std::stable_sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.share > b.share; });
  if (rule.top_k > 0) kept.resize(std::min(kept.size(), static_cast<std::size_t>(rule.top_k)));
  const auto total = [&] {
    std::uint64_t sum = 0;
    for (const Candidate& c : kept) sum += c.weight;
    return sum;
  };
  if (rule.top_p < 1) {
    const double enough = rule.top_p * static_cast<double>(total());
    std::uint64_t sum = 0;
    std::size_t count = 0;
    while (count < kept.size() && (count == 0 || static_cast<double>(sum) < enough)) sum += kept[count++].weight;
    kept.resize(count);
  }
  std::sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  __extension__ using Wide = unsigned __int128;
  const auto goal = static_cast<std::uint64_t>(static_cast<Wide>(rule.bits) * total() >> 64);
  std::uint64_t sum = 0;
  for (const Candidate& c : kept) {
    sum += c.weight;
    if (sum > goal) return c.id;
  }
  return -1;
}

}  // namespace awq::kernels::ref
