// The kernels' unit tests as one program for Arm. --packed-rows=N: how many rows of packed kernels beside the reference
// this processor must be able to run, so that a test which tries none of them is no success.

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/cpu_features.h"
#include "kernels/api/packed.h"

namespace awq::kernels {
namespace {

bool runnable(const PackedKernel& row) {
  if (row.feature == CpuFeature::kDotProduct) return has_arm_dot_product();
  if (row.feature == CpuFeature::kInt8Matrix) return has_arm_int8_matrix();
  return row.feature == CpuFeature::kNone;
}

int vector_rows() {
  int rows = 0;
  for (const PackedKernel* row = packed_kernels_cpu(); row->name != nullptr; ++row) {
    const bool reference = std::string_view(row->name).ends_with("_ref");
    if (!reference && runnable(*row)) ++rows;
  }
  return rows;
}

}  // namespace
}  // namespace awq::kernels

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const std::string expected = "--packed-rows=" + std::to_string(awq::kernels::vector_rows());
  if (argc != 2 || argv[1] != expected) {
    std::printf("%s was given, this processor has %s\n", argc == 2 ? argv[1] : "something else", expected.c_str());
    return 1;
  }
  return RUN_ALL_TESTS();
}
