#include "ops/kernel_choice.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/cpu_features.h"

namespace awq::ops {
namespace {

struct KernelChoices : testing::Test {
  ActivationPrecision before = activation_precision();
  ~KernelChoices() override { set_activation_precision(before); }
};

TEST_F(KernelChoices, ExactlyOneRowRuns) {
  for (const auto precision : {ActivationPrecision::kF32, ActivationPrecision::kInt8, ActivationPrecision::kInt15}) {
    set_activation_precision(precision);
    for (const int bits : {0, 4, 8}) {
      for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF16}) {
        for (const std::int64_t m : {1, 8, 9, 512}) {
          const std::vector<KernelChoice> rows = kernel_choices({.bits = bits, .dtype = dtype}, m);
          const auto runs = [](const KernelChoice& row) { return row.objection.empty(); };
          EXPECT_EQ(std::count_if(rows.begin(), rows.end(), runs), 1) << bits << " bits, " << m << " rows";
          EXPECT_EQ(kernel_name({.bits = bits, .dtype = dtype}, m), std::find_if(rows.begin(), rows.end(), runs)->name);
        }
      }
    }
  }
}

TEST_F(KernelChoices, NamesWhatTheProductSelects) {
  set_activation_precision(ActivationPrecision::kInt8);
  EXPECT_EQ(kernel_name({.bits = 4}, 3), select_packed(4, 1, 3).name);
  set_activation_precision(ActivationPrecision::kInt15);
  EXPECT_EQ(kernel_name({.bits = 8}, 700), select_packed(8, 2, 700).name);
  EXPECT_EQ(kernel_name({.dtype = DType::kBf16}, 4),
            select_linear(kernels::WeightKind::kBf16, {.m = 4, .n = 8, .k = 8}).name);
  EXPECT_EQ(kernel_name({.dtype = DType::kF32}, kernels::kMaxRows + 1), "gemm_f32");
}

}  // namespace
}  // namespace awq::ops
