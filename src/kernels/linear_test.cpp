// Every row of the kernel table that this processor can run, against the scalar reference of its kind.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "base/float16.h"
#include "base/random.h"
#include "kernels/api/linear.h"
#include "kernels/ref/linear_ref.h"
#include "tolerances.h"

namespace awq::kernels {
namespace {

float draw(std::uint64_t seed, std::uint64_t i) { return static_cast<float>(uniform(seed, i) * 2 - 1); }

/// A problem with memory of its own.
struct Problem {
  LinearArgs args;
  std::vector<float> x, bias, scales, group_sums;
  std::vector<std::uint8_t> weight, zero_points;

  Problem(WeightKind kind, std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t group_size, bool with_bias,
          std::uint64_t seed) {
    args = {.m = m, .n = n, .k = k};
    for (std::int64_t i = 0; i < m * k; ++i) x.push_back(draw(seed, static_cast<std::uint64_t>(i)));
    if (with_bias) {
      for (std::int64_t i = 0; i < n; ++i) bias.push_back(draw(seed + 1, static_cast<std::uint64_t>(i)));
    }
    const auto bits = [&](std::int64_t i) { return random_bits(seed + 2, static_cast<std::uint64_t>(i)); };
    if (kind == WeightKind::kU4) {
      fill_codes(group_size, bits);
    } else {
      fill_dense(kind, seed + 2);
    }
    args.x = x.data();
    args.weight = weight.data();
    args.bias = with_bias ? bias.data() : nullptr;
    args.scales = scales.data();
    args.zero_points = zero_points.data();
    args.x_group_sums = group_sums.data();
  }

  template <typename Bits>
  void fill_codes(std::int64_t group_size, Bits bits) {
    const std::int64_t groups = args.k / group_size;
    args.group_size = group_size;
    const std::int64_t row_bytes = packed_u4_row_bytes(args.k);
    weight.resize(static_cast<std::size_t>(args.n * row_bytes));
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(args.k));
    for (std::int64_t row = 0; row < args.n; ++row) {
      for (std::int64_t i = 0; i < args.k; ++i) {
        codes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(bits(row * args.k + i) % 16);
      }
      pack_u4_row(codes.data(), args.k, weight.data() + row * row_bytes);
    }
    for (std::int64_t i = 0; i < args.n * groups; ++i) {
      scales.push_back(0.01F + 0.1F * static_cast<float>(bits(i) % 100) / 100);
      zero_points.push_back(static_cast<std::uint8_t>(bits(i + 7) % 17));  // GPTQ's stored zero + 1 may be 16
    }
    for (std::int64_t i = 0; i < args.m * groups; ++i) {
      float sum = 0;
      for (std::int64_t j = 0; j < group_size; ++j) sum += x[static_cast<std::size_t>(i * group_size + j)];
      group_sums.push_back(sum);
    }
  }

  void fill_dense(WeightKind kind, std::uint64_t seed) {
    const std::int64_t count = args.n * args.k;
    weight.resize(static_cast<std::size_t>(count) * (kind == WeightKind::kF32 ? 4 : 2));
    for (std::int64_t i = 0; i < count; ++i) {
      const float value = draw(seed, static_cast<std::uint64_t>(i));
      const auto at = static_cast<std::size_t>(i);
      if (kind == WeightKind::kF32) std::memcpy(weight.data() + at * 4, &value, 4);
      const std::uint16_t half = kind == WeightKind::kBf16 ? to_bf16(value).bits : to_f16(value).bits;
      if (kind != WeightKind::kF32) std::memcpy(weight.data() + at * 2, &half, 2);
    }
  }

  std::vector<float> run(const LinearKernel& kernel, std::int64_t parts = 1) {
    std::vector<float> y(static_cast<std::size_t>(args.m * args.n), std::nanf(""));
    args.y = y.data();
    for (std::int64_t p = 0; p < parts; ++p) kernel.run(args, args.n * p / parts, args.n * (p + 1) / parts);
    return y;
  }
};

const LinearKernel& reference(WeightKind kind) {
  switch (kind) {
    case WeightKind::kF32:
      return ref::kF32;
    case WeightKind::kBf16:
      return ref::kBf16;
    case WeightKind::kF16:
      return ref::kF16;
    case WeightKind::kU4:
      break;
  }
  return ref::kU4;
}

/// Rows of the table that the processor can run. AWQ_ISA caps it further, for a test of the smaller machines.
std::vector<const LinearKernel*> runnable() {
  std::vector<const LinearKernel*> out;
  for (const LinearKernel* row = linear_kernels_cpu(); row->name != nullptr; ++row) {
    if (row->min_isa <= static_cast<std::uint8_t>(active_isa())) out.push_back(row);
  }
  return out;
}

struct Shape {
  std::int64_t n, k, group_size;
};

TEST(LinearKernels, AgreeWithTheReference) {
  // Odd sizes and tails; K = 172 is a real one. U4 takes those whose groups divide K.
  const Shape shapes[] = {{1, 32, 32},    {3, 64, 64},  {8, 96, 32},   {17, 128, 128}, {33, 172, 172}, {5, 256, 64},
                          {16, 384, 128}, {7, 40, 8},   {2, 1024, 32}, {9, 16, 16},    {4, 1, 1},      {6, 15, 5},
                          {11, 31, 31},   {12, 33, 33}, {64, 47, 47},  {10, 768, 128}, {1, 4096, 128}, {19, 160, 160}};
  int tried = 0;
  for (const LinearKernel* row : runnable()) {
    for (const Shape& shape : shapes) {
      for (std::int64_t m = 1; m <= kMaxRows; ++m) {
        const std::uint64_t seed = static_cast<std::uint64_t>(shape.k * 100 + m * 10);
        Problem problem(row->kind, m, shape.n, shape.k, shape.group_size, m % 2 == 0, seed);
        if (row->supports(problem.args) != nullptr) continue;
        ++tried;
        const std::vector<float> expected = problem.run(reference(row->kind));
        const std::vector<float> got = problem.run(*row);
        // Magnitudes: |x| <= 1, |w| <= 1 or scale * 16 (0.11 * 16).
        const double largest = row->kind == WeightKind::kU4 ? 1.8 : 1.0;
        const double bound = largest * std::sqrt(static_cast<double>(shape.k)) * 0x1p-24 *
                             (tolerance::kDotSigmas * std::sqrt(static_cast<double>(shape.k)) + tolerance::kDotFloor);
        for (std::size_t i = 0; i < expected.size(); ++i) {
          ASSERT_NEAR(got[i], expected[i], bound)
              << row->name << " m " << m << " n " << shape.n << " k " << shape.k << " at " << i;
        }
      }
    }
  }
  EXPECT_GT(tried, 0);
}

TEST(LinearKernels, RowsDoNotDependOnTheBatchOrTheSplit) {
  for (const LinearKernel* row : runnable()) {
    Problem batch(row->kind, kMaxRows, 37, 192, 64, true, 42);
    if (row->supports(batch.args) != nullptr) continue;
    const std::vector<float> whole = batch.run(*row);
    EXPECT_EQ(batch.run(*row, 5), whole) << row->name;
    for (std::int64_t m = 0; m < kMaxRows; ++m) {
      Problem alone(row->kind, kMaxRows, 37, 192, 64, true, 42);
      alone.args.m = 1;
      alone.args.x += m * 192;
      if (row->kind == WeightKind::kU4) alone.args.x_group_sums += m * 3;
      const std::vector<float> y = alone.run(*row);
      for (std::size_t n = 0; n < 37; ++n) {
        ASSERT_EQ(y[n], whole[static_cast<std::size_t>(m) * 37 + n]) << row->name << " row " << m;
      }
    }
  }
}

TEST(LinearKernels, EachKindEndsInARowThatSupportsAll) {
  for (const WeightKind kind : {WeightKind::kF32, WeightKind::kBf16, WeightKind::kF16, WeightKind::kU4}) {
    const LinearKernel* last = nullptr;
    for (const LinearKernel* row = linear_kernels_cpu(); row->name != nullptr; ++row) {
      if (row->kind == kind) last = row;
    }
    ASSERT_NE(last, nullptr);
    EXPECT_EQ(last->min_isa, 0);
    EXPECT_STREQ(last->name, reference(kind).name);
    const Problem odd(kind, 1, 1, 5, 5, false, 1);
    EXPECT_EQ(last->supports(odd.args), nullptr);
  }
}

TEST(LinearKernels, PackedCodesComeBack) {
  for (const std::int64_t k : {1, 15, 16, 17, 31, 32, 33, 64, 100, 172}) {
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(k));
    for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(random_bits(5, i) % 16);
    std::vector<std::uint8_t> packed(static_cast<std::size_t>(packed_u4_row_bytes(k)), 0xFF);
    pack_u4_row(codes.data(), k, packed.data());
    std::vector<std::uint8_t> back(codes.size());
    unpack_u4_row(packed.data(), k, back.data());
    EXPECT_EQ(back, codes) << k;
  }
}

}  // namespace
}  // namespace awq::kernels
