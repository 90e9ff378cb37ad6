#include "ops/draw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"
#include "kernels/ref/draw_ref.h"

namespace awq::ops {
namespace {

TEST(Drawer, DrawsWhatTheDefinitionSays) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const auto random = [&](std::uint64_t i) { return uniform(seed, i); };
    const auto ids = static_cast<std::size_t>(1 + random(1) * (seed % 20 == 0 ? 70000 : 3000));
    std::vector<float> logits(ids);
    for (std::size_t i = 0; i < ids; ++i) {
      const double v = uniform(seed + 5000, i);
      logits[i] = static_cast<float>(seed % 3 == 0 ? std::floor(v * 5) : v * (seed % 3 == 1 ? 25 : 1e-5));
    }
    DrawRule rule;
    if (random(2) < 0.95) rule.factor = static_cast<float>(1 / (0.05 + 2 * random(3)));
    if (random(4) < 0.5) rule.top_k = static_cast<std::int32_t>(1 + random(5) * static_cast<double>(ids) / 2);
    if (random(6) < 0.5) rule.top_p = random(7);
    if (random(8) < 0.3) rule.smallest = static_cast<float>(std::max(0x1p-40, random(9) * random(10)));
    Drawer drawer(static_cast<std::int64_t>(ids));
    for (std::uint64_t draw = 0; draw < 4; ++draw) {
      rule.bits = draw == 0 ? std::numeric_limits<std::uint64_t>::max() : random_bits(seed, draw);
      ASSERT_EQ(drawer.draw(logits, rule), kernels::ref::draw(logits, rule)) << "seed " << seed;
    }
  }
}

TEST(Drawer, LogitsOfMinusInfinityAreNeverDrawn) {
  const float never = -std::numeric_limits<float>::infinity();
  Drawer drawer(4);
  for (std::uint64_t i = 0; i < 100; ++i) {
    EXPECT_EQ(drawer.draw(std::vector<float>{never, never, -3, never}, {.factor = 0.01F, .bits = random_bits(1, i)}),
              2);
  }
}

TEST(Drawer, SaysWhenThereIsNothingToDraw) {
  const std::vector<float> none(3, -std::numeric_limits<float>::infinity());
  Drawer drawer(3);
  EXPECT_EQ(drawer.draw(none, {}), -1);
  EXPECT_EQ(drawer.draw(none, {.factor = 1}), -1);
}

TEST(ArgMax, TheLowestOfEqualIds) {
  EXPECT_EQ(arg_max(std::vector<float>{1, 3, 2, 3}), 1);
  std::vector<float> many(1000, 0.5F);  // more than the lanes of the search, with a tail
  many[997] = many[999] = 2;
  EXPECT_EQ(arg_max(many), 997);
}

}  // namespace
}  // namespace awq::ops
