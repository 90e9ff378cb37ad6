#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/language_model.h"

namespace awq::test {

/// Logits of all tokens of one sequence without a cache.
inline std::vector<float> all_logits(model::LanguageModel& model, std::span<const std::int32_t> ids) {
  const model::SequenceSlice slice{.token_count = static_cast<std::int64_t>(ids.size())};
  const std::span<const float> logits = model.forward(ids, {&slice, 1}, true);
  return {logits.begin(), logits.end()};
}

inline void expect_close(std::span<const float> got, std::span<const float> expected, double tolerance,
                         const std::string& what) {
  ASSERT_EQ(got.size(), expected.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], tolerance) << what << " at " << i;
  }
}

}  // namespace awq::test
