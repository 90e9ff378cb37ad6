#include "engine/prompt_lookup.h"

#include <gtest/gtest.h>

#include <vector>

namespace awq::engine {
namespace {

TEST(PromptLookup, TheLongestAndLatestRunIsContinued) {
  std::vector<std::int32_t> draft;
  const auto look = [&](const std::vector<std::int32_t>& ids, std::int64_t count) {
    look_up(ids, {.ngram_max = 3, .ngram_min = 1}, count, draft);
    return draft;
  };
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(look({1, 2, 3, 4, 9, 2, 3}, 2), (Ids{4, 9}));
  EXPECT_EQ(look({1, 2, 3, 4, 9, 2, 3}, 9), (Ids{4, 9, 2, 3}));
  EXPECT_EQ(look({5, 3, 7, 2, 3, 8, 2, 3}, 1), (Ids{8})) << "two tokens beat one";
  EXPECT_EQ(look({3, 7, 3, 8, 3}, 1), (Ids{8})) << "the latest";
  EXPECT_TRUE(look({1, 2, 3}, 4).empty());
  EXPECT_TRUE(look({1}, 4).empty());
  EXPECT_TRUE(look({1, 1, 1}, 0).empty());
}

}  // namespace
}  // namespace awq::engine
