#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace awq::engine {

struct PromptLookup {
  std::int64_t ngram_max = 4;
  std::int64_t ngram_min = 2;
};

/// Guesses up to `count` tokens that follow `ids`: the longest run of its last tokens (ngram_max down to ngram_min)
/// that occurred before is looked up, the latest occurrence first, and what followed it there is the guess. Replaces
/// `draft`; leaves it empty when nothing is found. O(ids * (ngram_max - ngram_min + 1)).
void look_up(std::span<const std::int32_t> ids, const PromptLookup& lookup, std::int64_t count,
             std::vector<std::int32_t>& draft);

}  // namespace awq::engine
