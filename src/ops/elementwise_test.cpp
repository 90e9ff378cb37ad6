#include "ops/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "ops/rope.h"
#include "support/npy.h"
#include "support/random.h"
#include "support/shared_data.h"
#include "tolerances.h"

namespace awq::ops {
namespace {

using test::random_floats;
using test::read_npy;

TEST(RmsNorm, MatchesTheDefinitionInPlaceToo) {
  for (const std::int64_t width : {1, 7, 32, 172, 5000}) {
    const std::int64_t rows = 9;
    const auto count = static_cast<std::size_t>(rows * width);
    std::vector<float> x = random_floats(1, count, 100);
    const std::vector<float> weight = random_floats(2, static_cast<std::size_t>(width), 3);
    std::vector<float> y(count);
    rms_norm(x.data(), rows, width, weight.data(), 1e-5F, y.data());
    for (std::int64_t t = 0; t < rows; ++t) {
      double squares = 0;
      for (std::int64_t i = 0; i < width; ++i) squares += std::pow(x[static_cast<std::size_t>(t * width + i)], 2.0);
      const double factor = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-5);
      for (std::int64_t i = 0; i < width; ++i) {
        const auto at = static_cast<std::size_t>(t * width + i);
        const double expected = x[at] * factor * weight[static_cast<std::size_t>(i)];
        ASSERT_NEAR(y[at], expected, std::fabs(expected) * tolerance::kElementwise) << width;
      }
    }
    rms_norm(x.data(), rows, width, weight.data(), 1e-5F, x.data());
    EXPECT_EQ(x, y);
  }
}

TEST(SiluMultiply, MatchesTheDefinitionAndItsLimits) {
  std::vector<float> gate = random_floats(3, 40000, 20);
  gate[0] = -200;  // exp(200) overflows binary32: the result is 0, not NaN
  gate[1] = 200;
  gate[2] = 0;
  const std::vector<float> before = gate;
  const std::vector<float> up = random_floats(4, gate.size(), 2);
  silu_multiply(gate.data(), up.data(), static_cast<std::int64_t>(gate.size()));
  for (std::size_t i = 0; i < gate.size(); ++i) {
    const double v = before[i];
    const double expected = v / (1 + std::exp(-v)) * up[i];
    ASSERT_NEAR(gate[i], expected, std::fabs(expected) * tolerance::kElementwise + std::numeric_limits<float>::min())
        << v;
  }
}

TEST(AddTo, Adds) {
  std::vector<float> x = random_floats(5, 1000);
  const std::vector<float> before = x;
  const std::vector<float> y = random_floats(6, 1000);
  add_to(x.data(), y.data(), 1000);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], before[i] + y[i]);
}

TEST(Rope, RotatesPairsAndKeepsLengths) {
  const std::vector<float> frequencies = {1.0F, 0.3F, 0.01F};
  const RopeTable table = RopeTable::make(frequencies, 1, 64);
  const std::vector<std::int64_t> positions = {0, 5, 63};
  std::vector<float> x = random_floats(7, 3 * 2 * 6);
  const std::vector<float> before = x;
  apply_rope(x.data(), 3, 2, 6, positions.data(), table);
  for (std::size_t t = 0; t < 3; ++t) {
    for (std::size_t h = 0; h < 2; ++h) {
      for (std::size_t j = 0; j < 3; ++j) {
        const std::size_t a = (t * 2 + h) * 6 + j;
        const double angle = static_cast<double>(positions[t]) * frequencies[j];
        // The angle is rounded to binary32 on purpose, which moves it by position * u.
        const double slack = tolerance::kElementwise + angle * 0x1p-24;
        EXPECT_NEAR(x[a], before[a] * std::cos(angle) - before[a + 3] * std::sin(angle), slack);
        EXPECT_NEAR(x[a + 3], before[a + 3] * std::cos(angle) + before[a] * std::sin(angle), slack);
      }
    }
  }
  const RopeTable longer = RopeTable::make(frequencies, 1.5F, 64);
  EXPECT_FLOAT_EQ(longer.cosine[0], 1.5F);
}

// What vLLM and PyTorch compute, with the tolerance that their manifests state.

TEST(OpGoldens, RmsNorm) {
  AWQ_REQUIRE_SHARED(folder, "op-goldens");
  for (const char* name : {"rmsnorm_f32_8x128", "rmsnorm_bf16_8x128"}) {
    const std::vector<float> x = read_npy(folder / name / "x.npy");
    const std::vector<float> weight = read_npy(folder / name / "weight.npy");
    const std::vector<float> expected = read_npy(folder / name / "out.npy");
    std::vector<float> y(x.size());
    rms_norm(x.data(), 8, 128, weight.data(), 1e-6F, y.data());
    // In bf16 the normalized value is rounded, and its product with the weight again.
    const bool bf16 = std::string(name).find("bf16") != std::string::npos;
    const double relative = bf16 ? 2 * tolerance::kBf16Output : tolerance::kOpGolden;
    ASSERT_EQ(y.size(), expected.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      ASSERT_NEAR(y[i], expected[i], relative * std::fabs(expected[i]) + tolerance::kOpGolden) << name << " " << i;
    }
  }
}

TEST(OpGoldens, SiluAndMultiply) {
  AWQ_REQUIRE_SHARED(folder, "op-goldens/silu_and_mul_bf16_8x256");
  const std::vector<float> x = read_npy(folder / "x.npy");
  const std::vector<float> expected = read_npy(folder / "out.npy");
  for (std::size_t t = 0; t < 8; ++t) {
    std::vector<float> gate(x.begin() + static_cast<std::ptrdiff_t>(t * 256),
                            x.begin() + static_cast<std::ptrdiff_t>(t * 256 + 128));
    silu_multiply(gate.data(), x.data() + t * 256 + 128, 128);
    for (std::size_t i = 0; i < 128; ++i) {
      const double want = expected[t * 128 + i];
      // silu and the product are rounded to bf16 one after the other.
      ASSERT_NEAR(gate[i], want, 2 * tolerance::kBf16Output * std::fabs(want) + tolerance::kOpGolden) << t << " " << i;
    }
  }
}

}  // namespace
}  // namespace awq::ops
