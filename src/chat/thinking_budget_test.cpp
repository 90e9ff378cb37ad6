#include "chat/thinking_budget.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string_view>

namespace awq::chat {
namespace {

/// Tokens are bytes; number 256 is <think>, 257 is </think>, 258 a text with the tag in its middle.
std::shared_ptr<const grammar::Vocabulary> vocabulary() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  tokens.insert(tokens.end(), {"<think>", "</think>", "hm.</think>So"});
  return std::make_shared<const grammar::Vocabulary>(std::move(tokens), std::span<const std::int32_t>());
}

struct Recorded : engine::TokenConstraint {
  explicit Recorded(std::vector<std::int32_t>& seen) : ids(seen) {}
  void allowed(std::span<std::uint32_t> mask) override {
    std::fill(mask.begin(), mask.end(), seldom && ids.size() < 4 ? 0b100U : 0b110U);
  }
  void accept(std::int32_t id) override { ids.push_back(id); }
  bool finished() const override { return ids.size() == 9; }
  std::vector<std::int32_t>& ids;
  bool seldom = false;  ///< 257 is not allowed before the fifth token
};

/// The ids that may come next; empty for all of them.
std::vector<std::int32_t> next(ThinkingBudget& budget) {
  std::vector<std::uint32_t> mask(9, 0xAAAAAAAAU);
  budget.allowed(mask);
  std::vector<std::int32_t> out;
  for (std::int32_t id = 0; id < 259; ++id) {
    if (((mask[static_cast<std::size_t>(id) / 32] >> (id % 32)) & 1U) != 0) out.push_back(id);
  }
  return out.size() == 259 ? std::vector<std::int32_t>() : out;
}

void say(ThinkingBudget& budget, std::string_view text) {
  for (const char c : text) budget.accept(static_cast<unsigned char>(c));
}

const std::vector<std::int32_t> kFree;

TEST(ThinkingBudget, CountsBetweenTheTags) {
  ThinkingBudget budget({.vocabulary = vocabulary(), .end_ids = {60, 257}, .budget = 3}, nullptr);
  say(budget, " \n<thi");
  say(budget, "nk>");
  EXPECT_EQ(next(budget), kFree);
  say(budget, "abc");
  EXPECT_EQ(next(budget), std::vector<std::int32_t>{60});
  budget.accept(60);
  EXPECT_EQ(next(budget), std::vector<std::int32_t>{257});
  budget.accept(257);
  EXPECT_EQ(next(budget), kFree);
  say(budget, "<think>abcdefg");  // there is one thought
  EXPECT_EQ(next(budget), kFree);
}

TEST(ThinkingBudget, AThoughtThatEndsItselfIsLeftAlone) {
  for (const bool whole : {false, true}) {
    ThinkingBudget budget({.vocabulary = vocabulary(), .end_ids = {257}, .budget = 9}, nullptr);
    budget.accept(256);
    if (whole) {
      budget.accept(258);
    } else {
      say(budget, "</think>");
    }
    say(budget, "and this is longer than the budget");
    EXPECT_EQ(next(budget), kFree);
  }
  ThinkingBudget none({.vocabulary = vocabulary(), .end_ids = {257}, .budget = 2}, nullptr);
  say(none, "no thought at all");
  EXPECT_EQ(next(none), kFree);
}

TEST(ThinkingBudget, NothingWhenThePromptHasOpenedIt) {
  ThinkingBudget budget({.vocabulary = vocabulary(), .end_ids = {257}, .budget = 0, .inside = true}, nullptr);
  EXPECT_EQ(next(budget), std::vector<std::int32_t>{257});
  budget.accept(257);
  EXPECT_EQ(next(budget), kFree);
}

TEST(ThinkingBudget, WhatIsWithinHearsEverything) {
  std::vector<std::int32_t> seen;
  ThinkingBudget budget({.vocabulary = vocabulary(), .end_ids = {257}, .budget = 2, .inside = true},
                        std::make_unique<Recorded>(seen));
  EXPECT_EQ(next(budget), (std::vector<std::int32_t>{1, 2, 33, 34, 65, 66, 97, 98, 129, 130, 161, 162, 193, 194, 225,
                                                     226, 257, 258}));
  say(budget, "ab");
  EXPECT_EQ(next(budget), std::vector<std::int32_t>{257});
  budget.accept(257);
  EXPECT_EQ(seen, (std::vector<std::int32_t>{'a', 'b', 257}));
  EXPECT_FALSE(budget.finished());
  say(budget, "abcdef");
  EXPECT_TRUE(budget.finished());
}

TEST(ThinkingBudget, WaitsForWhatIsWithin) {
  std::vector<std::int32_t> seen;
  auto inner = std::make_unique<Recorded>(seen);
  inner->seldom = true;
  ThinkingBudget budget({.vocabulary = vocabulary(), .end_ids = {257}, .budget = 2, .inside = true}, std::move(inner));
  say(budget, "abc");
  EXPECT_EQ(next(budget), (std::vector<std::int32_t>{2, 34, 66, 98, 130, 162, 194, 226, 258}));
  say(budget, "d");
  EXPECT_EQ(next(budget), std::vector<std::int32_t>{257});
}

}  // namespace
}  // namespace awq::chat
