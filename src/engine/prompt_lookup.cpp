#include "engine/prompt_lookup.h"

#include <algorithm>

namespace awq::engine {

void look_up(std::span<const std::int32_t> ids, const PromptLookup& lookup, std::int64_t count,
             std::vector<std::int32_t>& draft) {
  draft.clear();
  const auto length = static_cast<std::int64_t>(ids.size());
  for (std::int64_t n = std::min(lookup.ngram_max, length - 1); n >= lookup.ngram_min && count > 0; --n) {
    const auto suffix = ids.last(static_cast<std::size_t>(n));
    for (std::int64_t begin = length - n - 1; begin >= 0; --begin) {
      const auto there = ids.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(n));
      if (there.back() != suffix.back() || !std::equal(suffix.begin(), suffix.end(), there.begin())) continue;
      const std::int64_t found = std::min(count, length - begin - n);
      const auto* from = ids.data() + begin + n;
      draft.assign(from, from + found);
      return;
    }
  }
}

}  // namespace awq::engine
