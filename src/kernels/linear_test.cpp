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
  std::vector<float> x, bias;
  std::vector<std::uint16_t> x_bf16;
  std::vector<std::uint8_t> weight;

  Problem(WeightKind kind, std::int64_t m, std::int64_t n, std::int64_t k, bool with_bias, std::uint64_t seed) {
    args = {.m = m, .n = n, .k = k};
    for (std::int64_t i = 0; i < m * k; ++i) x.push_back(draw(seed, static_cast<std::uint64_t>(i)));
    if (with_bias) {
      for (std::int64_t i = 0; i < n; ++i) bias.push_back(draw(seed + 1, static_cast<std::uint64_t>(i)));
    }
    fill_dense(kind, seed + 2);
    args.x = x.data();
    args.weight = weight.data();
    args.bias = with_bias ? bias.data() : nullptr;
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

  /// Rounds x to what `kernel` takes, so that the reference computes the same.
  void round_for(const LinearKernel& kernel) {
    if (kernel.round_inputs == nullptr) return;
    x_bf16.resize(x.size());
    args.x_bf16 = x_bf16.data();
    kernel.round_inputs(x.data(), args.m * args.k, x_bf16.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(x_bf16[i], to_bf16(x[i]).bits) << kernel.name << " rounds " << x[i];
      x[i] = to_float(Bf16{x_bf16[i]});
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
      break;
  }
  return ref::kF16;
}

/// Rows of the table that the processor can run. AWQ_ISA caps it further, for a test of the smaller machines.
std::vector<const LinearKernel*> runnable() {
  std::vector<const LinearKernel*> out;
  for (const LinearKernel* row = linear_kernels_cpu(); row->name != nullptr; ++row) {
    if (row->min_isa > static_cast<std::uint8_t>(active_isa())) continue;
    if (row->round_inputs == nullptr || has_native_bf16()) out.push_back(row);
  }
  return out;
}

struct Shape {
  std::int64_t n, k;
};

TEST(LinearKernels, AgreeWithTheReference) {
  // Odd sizes and tails; K = 172 is a real one.
  const Shape shapes[] = {{1, 32}, {3, 64}, {8, 96}, {17, 128}, {33, 172}, {5, 256}, {16, 384}, {7, 40},   {2, 1024},
                          {9, 16}, {4, 1},  {6, 15}, {11, 31},  {12, 33},  {64, 47}, {10, 768}, {1, 4096}, {19, 160}};
  int tried = 0;
  for (const LinearKernel* row : runnable()) {
    for (const Shape& shape : shapes) {
      for (std::int64_t m = 1; m <= kMaxRows; ++m) {
        const std::uint64_t seed = static_cast<std::uint64_t>(shape.k * 100 + m * 10);
        Problem problem(row->kind, m, shape.n, shape.k, m % 2 == 0, seed);
        if (row->supports(problem.args) != nullptr) continue;
        ++tried;
        problem.round_for(*row);
        const std::vector<float> expected = problem.run(reference(row->kind));
        const std::vector<float> got = problem.run(*row);
        const double bound = std::sqrt(static_cast<double>(shape.k)) * 0x1p-24 *  // |x|, |w| <= 1
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
    Problem batch(row->kind, kMaxRows, 37, 192, true, 42);
    if (row->supports(batch.args) != nullptr) continue;
    batch.round_for(*row);
    const std::vector<float> whole = batch.run(*row);
    EXPECT_EQ(batch.run(*row, 5), whole) << row->name;
    for (std::int64_t m = 0; m < kMaxRows; ++m) {
      Problem alone(row->kind, kMaxRows, 37, 192, true, 42);
      alone.round_for(*row);
      alone.args.m = 1;
      alone.args.x += m * 192;
      if (alone.args.x_bf16 != nullptr) alone.args.x_bf16 += m * 192;
      const std::vector<float> y = alone.run(*row);
      for (std::size_t n = 0; n < 37; ++n) {
        ASSERT_EQ(y[n], whole[static_cast<std::size_t>(m) * 37 + n]) << row->name << " row " << m;
      }
    }
  }
}

TEST(LinearKernels, EachKindEndsInARowThatSupportsAll) {
  for (const WeightKind kind : {WeightKind::kF32, WeightKind::kBf16, WeightKind::kF16}) {
    const LinearKernel* last = nullptr;
    for (const LinearKernel* row = linear_kernels_cpu(); row->name != nullptr; ++row) {
      if (row->kind == kind) last = row;
    }
    ASSERT_NE(last, nullptr);
    EXPECT_EQ(last->min_isa, 0);
    EXPECT_STREQ(last->name, reference(kind).name);
    const Problem odd(kind, 1, 1, 5, false, 1);
    EXPECT_EQ(last->supports(odd.args), nullptr);
  }
}

}  // namespace
}  // namespace awq::kernels
