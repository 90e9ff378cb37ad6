// Packed weights: the layout, the rounding of activations, and every integer kernel bit for bit against the reference.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/cpu_features.h"
#include "base/random.h"
#include "kernels/api/packed.h"
#include "kernels/packed_test_support.h"
#include "kernels/ref/packed_ref.h"
#include "tolerances.h"

namespace awq::kernels {
namespace {

using test::ActivationMemory;
using test::draw;
using test::PackedProblem;

constexpr test::PackedShape kShapes[] = {
    {16, 128, 128, 4}, {1, 32, 32, 4},   {33, 172, 172, 4}, {80, 256, 64, 4},  {100, 384, 128, 4}, {7, 40, 8, 4},
    {18, 15, 5, 4},    {48, 96, 32, 4},  {5, 33, 33, 4},    {64, 512, 512, 4}, {200, 64, 64, 4},   {16, 128, 128, 8},
    {33, 172, 172, 8}, {80, 256, 32, 8}, {7, 40, 8, 8},     {18, 15, 5, 8},    {130, 128, 64, 8},  {1, 1, 1, 8}};

bool allowed(std::uint8_t min_isa) { return min_isa <= static_cast<std::uint8_t>(active_isa()); }

bool runnable(const PackedKernel& kernel) {
  if (kernel.feature == CpuFeature::kAvxVnni && !has_avx_vnni()) return false;
  if (kernel.feature == CpuFeature::kDotProduct && !has_arm_dot_product()) return false;
  if (kernel.feature == CpuFeature::kInt8Matrix && !has_arm_int8_matrix()) return false;
  return allowed(kernel.min_isa);
}

const PackedKernel& reference(int bits, int planes) {
  if (bits == 4) return planes == 1 ? ref::kI8U4 : ref::kI15U4;
  return planes == 1 ? ref::kI8U8 : ref::kI15U8;
}

TEST(PackedLayout, PlacesOfCodesScalesAndZeroPoints) {
  // By the drawing in docs/layouts/packed-weights.md, not by the code.
  const PackedProblem p({20, 128, 64, 4}, true, 3);
  // Two blocks of codes, then of scales, then of zero points.
  constexpr std::int64_t kCodes = 2 * 8 * 64;
  constexpr std::int64_t kScales = 2 * 16 * 2;
  constexpr std::int64_t kZeros = 2 * 16;
  ASSERT_EQ(p.layout.bytes(), 2 * (kCodes + kScales + kZeros));
  for (std::int64_t n = 0; n < 20; ++n) {
    for (std::int64_t k = 0; k < 128; ++k) {
      const std::int64_t in_group = k % 64;
      const std::uint8_t byte = p.weight[static_cast<std::size_t>(n / 16 * kCodes + k / 64 * 512 + in_group / 8 * 64 +
                                                                  n % 16 * 4 + in_group % 4)];
      EXPECT_EQ(in_group % 8 < 4 ? byte & 15 : byte >> 4, p.codes[static_cast<std::size_t>(n * 128 + k)]);
    }
    F16 scale;
    std::memcpy(&scale, p.weight.data() + 2 * kCodes + n / 16 * kScales + (16 + n % 16) * 2, sizeof(scale));
    EXPECT_EQ(to_float(scale), p.scales[static_cast<std::size_t>(n * 2 + 1)]);
    EXPECT_EQ(p.weight[static_cast<std::size_t>(2 * (kCodes + kScales) + n / 16 * kZeros + 16 + n % 16)],
              p.zero_points[static_cast<std::size_t>(n * 2 + 1)]);
  }
}

TEST(PackedLayout, ExpandIsTheDefinition) {
  for (const test::PackedShape& shape : kShapes) {
    for (const bool half : {true, false}) {
      const PackedProblem p(shape, half, 1);
      std::vector<float> out(static_cast<std::size_t>(shape.n * shape.k));
      expand_packed(p.layout, p.weight.data(), 0, shape.n, out.data());
      for (std::int64_t i = 0; i < shape.n * shape.k; ++i) {
        ASSERT_EQ(out[static_cast<std::size_t>(i)], p.value(i / shape.k, i % shape.k)) << shape.n << "x" << shape.k;
      }
    }
  }
}

TEST(PackedLayout, ScalesThatHalfCannotHold) {
  const float exact[] = {0.5F, 0x1p-24F, 65504.0F, 0.0F};
  EXPECT_TRUE(scales_fit_half(exact, 4));
  for (const float not_half : {0.1F, 65536.0F, 0x1p-26F, 1.0F + 0x1p-11F}) EXPECT_FALSE(scales_fit_half(&not_half, 1));
}

TEST(PackedActivations, QuantizersGiveTheSameBits) {
  for (const ActivationQuantizer* row = activation_quantizers_cpu(); row->name != nullptr; ++row) {
    if (!allowed(row->min_isa)) continue;
    for (const test::PackedShape& shape : kShapes) {
      for (const bool row_major : {false, true}) {
        for (const int planes : {1, 2}) {
          std::vector<float> x = test::random_inputs(11, shape.k, 5);
          if (shape.k > 4) x[3] = 1e-35F;
          const ActivationMemory expected(shape, 11, 4, planes, row_major, x, ref::kQuantizeActivations);
          const ActivationMemory got(shape, 11, 4, planes, row_major, x, *row);
          EXPECT_EQ(got.codes_copy(), expected.codes_copy()) << row->name;
          EXPECT_EQ(got.scales, expected.scales) << row->name;
          EXPECT_EQ(got.minus_sums, expected.minus_sums) << row->name;
        }
      }
    }
  }
}

TEST(PackedActivations, InfinityAndNanAreSeenAtEveryPlace) {
  const test::PackedShape shape{1, 80, 40, 4};
  for (const float bad : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                          std::nanf(""), -std::nanf("7")}) {
    for (const ActivationQuantizer* row = activation_quantizers_cpu(); row->name != nullptr; ++row) {
      if (!allowed(row->min_isa)) continue;
      for (std::int64_t at = 0; at < shape.k; ++at) {
        std::vector<float> x = test::random_inputs(1, shape.k, 5);
        x[static_cast<std::size_t>(at)] = bad;
        const ActivationMemory a(shape, 1, 1, 1, false, x, *row);
        const std::int64_t block = at / 40 * 2 + at % 40 / 32;  // each group of 40 is padded to two units
        for (std::int64_t b = 0; b < 4; ++b) {
          EXPECT_EQ(std::isnan(a.scales[static_cast<std::size_t>(b)]), b == block) << row->name << " at " << at;
        }
      }
    }
  }
}

TEST(PackedActivations, RoundingErrorIsHalfAStep) {
  const test::PackedShape shape{1, 256, 64, 4};
  const std::vector<float> x = test::random_inputs(3, shape.k, 9);
  for (const int planes : {1, 2}) {
    const ActivationMemory a(shape, 3, 1, planes, true, x, ref::kQuantizeActivations);
    for (std::size_t i = 0; i < x.size(); ++i) {
      // A unit has a scale of its own with one plane; with two, the group of 64 has one, and its inputs lie together.
      const std::size_t block = planes == 1 ? 32 : 64;
      const std::size_t row = i / 256;
      const std::size_t at = i % 256 / block;
      const std::int8_t* codes = a.x.codes + row * 256 * static_cast<std::size_t>(planes) +
                                 at * static_cast<std::size_t>(planes) * block + i % block;
      const int code = planes == 1 ? codes[0] : codes[0] * 128 + codes[block];
      const float scale = a.scales[row * (256 / block) + at];
      EXPECT_LE(std::fabs(static_cast<float>(code) * scale - x[i]), tolerance::kHalfStep * static_cast<double>(scale));
    }
  }
}

TEST(PackedKernels, AgreeWithTheReferenceBitForBit) {
  int tried = 0;
  for (const PackedKernel* row = packed_kernels_cpu(); row->name != nullptr; ++row) {
    if (!runnable(*row)) continue;
    for (const test::PackedShape& shape : kShapes) {
      if (shape.bits != row->bits) continue;
      for (const std::int64_t m : {1, 2, 3, 4, 5, 6, 7, 9, 13, 16, 17, 33}) {
        const PackedProblem p(shape, m % 3 != 0, static_cast<std::uint64_t>(m));
        const std::vector<float> x = test::random_inputs(m, shape.k, static_cast<std::uint64_t>(m + 1));
        const ActivationMemory a(shape, m, row->panel_rows, row->planes, row->row_major, x, ref::kQuantizeActivations);
        const std::vector<float> expected = p.run(reference(row->bits, row->planes), a, m % 2 == 0);
        ASSERT_EQ(p.run(*row, a, m % 2 == 0), expected)
            << row->name << " m " << m << " n " << shape.n << " k " << shape.k << " group " << shape.group_size;
        ASSERT_EQ(p.run(*row, a, m % 2 == 0, 3), expected) << row->name << " in three parts";
        ++tried;
      }
    }
  }
  EXPECT_GT(tried, 0);
}

TEST(PackedKernels, RowsDoNotDependOnTheBatch) {
  const test::PackedShape shape{70, 256, 64, 4};
  const PackedProblem p(shape, true, 4);
  const std::vector<float> x = test::random_inputs(13, shape.k, 4);
  for (const PackedKernel* row = packed_kernels_cpu(); row->name != nullptr; ++row) {
    if (!runnable(*row) || row->bits != 4) continue;
    const ActivationMemory all(shape, 13, row->panel_rows, row->planes, row->row_major, x, ref::kQuantizeActivations);
    const std::vector<float> together = p.run(*row, all, true);
    for (std::int64_t m = 0; m < 13; ++m) {
      const std::vector<float> one(x.begin() + m * shape.k, x.begin() + (m + 1) * shape.k);
      const ActivationMemory alone(shape, 1, row->panel_rows, row->planes, row->row_major, one,
                                   ref::kQuantizeActivations);
      const std::vector<float> y = p.run(*row, alone, true);
      ASSERT_EQ(y, std::vector<float>(together.begin() + m * shape.n, together.begin() + (m + 1) * shape.n));
    }
  }
}

TEST(PackedKernels, TheReferenceIsTheProductOfTheRoundedNumbers) {
  for (const test::PackedShape& shape : kShapes) {
    for (const int planes : {1, 2}) {
      const PackedProblem p(shape, true, 8);
      const std::vector<float> x = test::random_inputs(4, shape.k, 21);
      const ActivationMemory a(shape, 4, 4, planes, false, x, ref::kQuantizeActivations);
      const std::vector<float> y = p.run(reference(shape.bits, planes), a, true);
      for (std::int64_t m = 0; m < 4; ++m) {
        for (std::int64_t n = 0; n < shape.n; ++n) {
          double expected = p.bias[static_cast<std::size_t>(n)];
          double rounding = 0;  // of the activations: half a step each
          double magnitude = std::fabs(expected);
          for (std::int64_t k = 0; k < shape.k; ++k) {
            const double w = p.value(n, k);
            const float* from = &x[static_cast<std::size_t>(m * shape.k)];
            expected += w * from[k];
            rounding += std::fabs(w) * test::largest_of_unit(from, k, shape.group_size) /
                        (2 * (planes == 1 ? kLargestActivation : kLargestWideActivation));
            magnitude += std::fabs(w) * std::fabs(from[k]);
          }
          const double dot = magnitude * 0x1p-24 *
                             (tolerance::kDotSigmas * std::sqrt(static_cast<double>(shape.k)) + tolerance::kDotFloor);
          const double code_products = (shape.bits == 4 ? 1 : 16) * tolerance::kCodeProducts * magnitude;
          ASSERT_NEAR(y[static_cast<std::size_t>(m * shape.n + n)], expected,
                      rounding * (1 + 0x1p-10) + dot + code_products)
              << "planes " << planes << " k " << shape.k;
        }
      }
    }
  }
}

TEST(PackedKernels, InfinityAndNanShowInTheirRowOnly) {
  const test::PackedShape shape{33, 128, 64, 4};
  const PackedProblem p(shape, true, 4);
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    std::vector<float> x = test::random_inputs(3, shape.k, 4);
    x[static_cast<std::size_t>(shape.k + 70)] = bad;
    for (const ActivationQuantizer* quantizer = activation_quantizers_cpu(); quantizer->name != nullptr; ++quantizer) {
      if (!allowed(quantizer->min_isa)) continue;
      for (const PackedKernel* row = packed_kernels_cpu(); row->name != nullptr; ++row) {
        if (!runnable(*row) || row->bits != 4) continue;
        const ActivationMemory a(shape, 3, row->panel_rows, row->planes, row->row_major, x, *quantizer);
        const std::vector<float> y = p.run(*row, a, true);
        for (std::int64_t i = 0; i < 3 * shape.n; ++i) {
          EXPECT_EQ(std::isnan(y[static_cast<std::size_t>(i)]), i / shape.n == 1) << row->name << " at " << i;
        }
      }
    }
  }
}

TEST(PackedFloatKernels, AgreeWithTheDefinition) {
  for (const PackedFloatKernel* row = packed_float_kernels_cpu(); row->name != nullptr; ++row) {
    if (!allowed(row->min_isa)) continue;
    for (const test::PackedShape& shape : kShapes) {
      if (shape.bits != row->bits) continue;
      for (std::int64_t m = 1; m <= kMaxPackedFloatRows; ++m) {
        const PackedProblem p(shape, m % 2 == 0, static_cast<std::uint64_t>(m));
        const std::vector<float> x = test::random_inputs(m, shape.k, 77);
        const std::vector<float> y = p.run_float(*row, x, m);
        for (std::int64_t i = 0; i < m * shape.n; ++i) {
          double expected = p.bias[static_cast<std::size_t>(i % shape.n)];
          double magnitude = std::fabs(expected);
          for (std::int64_t k = 0; k < shape.k; ++k) {
            const double product =
                static_cast<double>(p.value(i % shape.n, k)) * x[static_cast<std::size_t>(i / shape.n * shape.k + k)];
            expected += product;
            magnitude += std::fabs(product);
          }
          const double dot = magnitude * 0x1p-24 *
                             (tolerance::kDotSigmas * std::sqrt(static_cast<double>(shape.k)) + tolerance::kDotFloor);
          const double code_products = (shape.bits == 4 ? 1 : 16) * tolerance::kCodeProducts * magnitude;
          ASSERT_NEAR(y[static_cast<std::size_t>(i)], expected, dot + code_products)
              << row->name << " m " << m << " k " << shape.k;
        }
      }
    }
  }
}

TEST(PackedKernels, EveryKindEndsInARowForAnyProcessor) {
  for (const int bits : {4, 8}) {
    for (const int planes : {1, 2}) {
      const PackedKernel* last = nullptr;
      for (const PackedKernel* row = packed_kernels_cpu(); row->name != nullptr; ++row) {
        if (row->bits == bits && row->planes == planes) last = row;
      }
      ASSERT_NE(last, nullptr);
      EXPECT_EQ(last->min_isa, 0);
      EXPECT_EQ(last->feature, CpuFeature::kNone);
    }
  }
}

}  // namespace
}  // namespace awq::kernels
