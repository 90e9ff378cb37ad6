// Drawing tokens: the work of a team of threads, taken in turn, against the definition by sorting.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "base/random.h"
#include "kernels/api/attention.h"
#include "kernels/draw_row.h"
#include "kernels/ref/draw_ref.h"

namespace awq::kernels {
namespace {

/// The threads of a block one after the other, up to each barrier.
template <int kG, int kL>
struct InTurn {
  static constexpr int kGroups = kG;
  static constexpr int kLanes = kL;
  template <class F>
  void each(F f) const {
    // In no useful order: what a thread reads must have been written before the barrier.
    for (int t = 0; t < kG * kL; ++t) f((t * 7 + 3) % (kG * kL));
  }
  template <class T>
  void add(T& place, T value) const {
    place += value;
  }
};

struct Row {
  std::vector<float> shares;
  std::int32_t count() const { return static_cast<std::int32_t>(shares.size()); }
  std::uint32_t bits(std::int32_t i) const { return share_bits(shares[static_cast<std::size_t>(i)]); }
  std::int32_t id(std::int32_t i) const { return i; }
  void narrow(std::uint32_t /*smallest*/) const {}
};

template <int kG, int kL>
std::int32_t draw(const std::vector<float>& logits, const DrawRule& rule) {
  Row row;
  const float largest = *std::max_element(logits.begin(), logits.end());
  for (const float v : logits) row.shares.push_back(exp_nonpositive((v - largest) * rule.factor));
  using Work = RowDraw<InTurn<kG, kL>, Row>;
  const auto scratch = std::make_unique<typename Work::Scratch>();
  return Work({}, *scratch, row).draw(rule);
}

void expect_same(const std::vector<float>& logits, const DrawRule& rule) {
  const std::int32_t expected = ref::draw(logits, rule);
  ASSERT_GE(expected, 0);
  ASSERT_EQ((draw<64, 1>(logits, rule)), expected);
  ASSERT_EQ((draw<8, 32>(logits, rule)), expected);
  ASSERT_EQ((draw<1, 1>(logits, rule)), expected);
}

TEST(Draw, AnyTeamFindsTheTokenOfTheDefinition) {
  for (std::uint64_t seed = 0; seed < 600; ++seed) {
    const auto random = [&](std::uint64_t i) { return uniform(seed, i); };
    const auto ids = static_cast<std::size_t>(1 + random(1) * (seed % 10 == 0 ? 20000 : 700));
    // Now and then few values, so that many logits are equal, or all nearly the same.
    const int kind = static_cast<int>(random(2) * 4);
    std::vector<float> logits(ids);
    for (std::size_t i = 0; i < ids; ++i) {
      const double v = uniform(seed + 1000, i);
      logits[i] = static_cast<float>(kind == 0   ? std::floor(v * 4)
                                     : kind == 1 ? v * 1e-5
                                     : kind == 2 ? v * 60 - 30
                                                 : std::log(v + 1e-9) * 3);
    }
    DrawRule rule;
    rule.factor = static_cast<float>(1 / (0.05 + 2 * random(3)));
    if (random(4) < 0.5) rule.top_k = static_cast<std::int32_t>(1 + random(5) * static_cast<double>(ids) * 1.1);
    if (random(6) < 0.5) rule.top_p = random(7) < 0.2 ? 1e-9 : random(7);
    if (random(8) < 0.3) rule.smallest = static_cast<float>(std::max(0x1p-40, random(9)));
    for (std::uint64_t draw = 0; draw < 3; ++draw) {
      rule.bits = draw == 0 ? 0 : draw == 1 ? std::numeric_limits<std::uint64_t>::max() : random_bits(seed, 77);
      expect_same(logits, rule);
      if (HasFatalFailure()) FAIL() << "seed " << seed;
    }
  }
}

TEST(Draw, EqualLogitsAreKeptFromTheLowestId) {
  const std::vector<float> logits(100, 1.0F);
  DrawRule rule{.factor = 1, .top_k = 3};
  rule.bits = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ((draw<64, 1>(logits, rule)), 2);
  rule = {.factor = 1, .top_p = 0.051, .bits = rule.bits};
  EXPECT_EQ((draw<64, 1>(logits, rule)), 5);
}

}  // namespace
}  // namespace awq::kernels
