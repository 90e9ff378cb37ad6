#include "base/checked_math.h"

#include <gtest/gtest.h>

namespace awq {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

TEST(CheckedMath, AddAndMultiplyEndAtTheLimit) {
  EXPECT_EQ(checked_add(kMax - 1, 1), kMax);
  EXPECT_EQ(checked_add(kMax, 1), std::nullopt);
  EXPECT_EQ(checked_add(kMax, 0), kMax);
  EXPECT_EQ(checked_mul(1ULL << 32, (1ULL << 32) - 1), (1ULL << 32) * ((1ULL << 32) - 1));
  EXPECT_EQ(checked_mul(1ULL << 32, 1ULL << 32), std::nullopt);
  EXPECT_EQ(checked_mul(kMax, 1), kMax);
  EXPECT_EQ(checked_mul(kMax, 0), 0U);
}

TEST(CheckedMath, AlignUp) {
  EXPECT_EQ(checked_align_up(0, 8), 0U);
  EXPECT_EQ(checked_align_up(1, 8), 8U);
  EXPECT_EQ(checked_align_up(8, 8), 8U);
  EXPECT_EQ(checked_align_up(kMax - 7, 8), kMax - 7);
  EXPECT_EQ(checked_align_up(kMax - 6, 8), std::nullopt);
}

TEST(CheckedMath, Cast) {
  EXPECT_EQ(checked_cast<std::int32_t>(std::uint64_t{2147483647}), 2147483647);
  EXPECT_EQ(checked_cast<std::int32_t>(std::uint64_t{2147483648}), std::nullopt);
  EXPECT_EQ(checked_cast<std::uint64_t>(std::int64_t{-1}), std::nullopt);
  EXPECT_EQ(checked_cast<std::int64_t>(kMax), std::nullopt);
}

TEST(CheckedMath, CeilDivDoesNotOverflow) {
  EXPECT_EQ(ceil_div(0, 7), 0U);
  EXPECT_EQ(ceil_div(7, 7), 1U);
  EXPECT_EQ(ceil_div(8, 7), 2U);
  EXPECT_EQ(ceil_div(kMax, 2), (kMax >> 1) + 1);
}

}  // namespace
}  // namespace awq
