#include "kernels/api/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/cpu_features.h"
#include "base/random.h"
#include "tolerances.h"

namespace awq::kernels {
namespace {

std::vector<float> numbers(std::uint64_t seed, std::size_t count, double size) {
  std::vector<float> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>((uniform(seed, i) * 2 - 1) * size);
  return out;
}

TEST(ElementwiseKernels, AllRowsGiveTheSameBits) {
  const ElementwiseKernel* reference = elementwise_kernels_cpu();
  while (reference[1].name != nullptr) ++reference;
  for (const std::size_t width : {1U, 4U, 16U, 30U, 64U, 172U, 2048U}) {
    const auto n = static_cast<std::int64_t>(width);
    const std::vector<float> x = numbers(width, width, 3), y = numbers(width + 1, width, 30),
                             w = numbers(width + 2, width, 1);
    const auto results = [&](const ElementwiseKernel& kernel) {
      std::vector<std::vector<float>> out(7, x);
      kernel.rms_norm(x.data(), n, w.data(), 1e-5F, out[0].data());
      kernel.add_rms_norm(out[1].data(), y.data(), n, w.data(), 1e-5F, out[2].data());
      kernel.add(out[3].data(), y.data(), n);
      out[4] = y;  // large and small, of both signs
      kernel.silu_multiply(out[4].data(), x.data(), n);
      kernel.rotate(out[5].data(), y.data(), w.data(), n / 2);
      kernel.exp_below(y.data(), n, 30.0F, 1.5F, out[6].data());
      return out;
    };
    const auto expected = results(*reference);
    for (const ElementwiseKernel* kernel = elementwise_kernels_cpu(); kernel->name != nullptr; ++kernel) {
      if (kernel->min_isa > static_cast<std::uint8_t>(active_isa())) continue;
      EXPECT_EQ(results(*kernel), expected) << kernel->name << " width " << width;
    }
    // The definitions, in binary64.
    for (std::size_t i = 0; i < width; ++i) {
      const double silu = static_cast<double>(y[i]) / (1 + std::exp(-static_cast<double>(y[i]))) * x[i];
      EXPECT_NEAR(expected[4][i], silu, tolerance::kElementwise * std::fabs(silu) + 1e-30);
      EXPECT_EQ(expected[1][i], x[i] + y[i]);
      const double share = std::exp((static_cast<double>(y[i]) - 30) * 1.5);
      EXPECT_NEAR(expected[6][i], share, tolerance::kElementwise * 90 * share + 1e-37) << "its argument is up to 90";
      EXPECT_EQ(expected[3][i], x[i] + y[i]);
    }
  }
}

TEST(ElementwiseKernels, ANanIsNotHidden) {
  for (const ElementwiseKernel* kernel = elementwise_kernels_cpu(); kernel->name != nullptr; ++kernel) {
    if (kernel->min_isa > static_cast<std::uint8_t>(active_isa())) continue;
    std::vector<float> gate(20, 1.0F), up(20, 1.0F), out(20);
    gate[3] = gate[18] = std::nanf("");
    kernel->silu_multiply(gate.data(), up.data(), 20);
    EXPECT_TRUE(std::isnan(gate[3]) && std::isnan(gate[18]) && std::isfinite(gate[4]));
    up[7] = std::nanf("");
    kernel->rms_norm(up.data(), 20, out.data(), 1e-5F, out.data());
    EXPECT_TRUE(std::isnan(out[0]));
  }
}

}  // namespace
}  // namespace awq::kernels
