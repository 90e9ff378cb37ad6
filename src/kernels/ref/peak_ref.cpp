#include "kernels/ref/peak_ref.h"

namespace awq::kernels::ref {
namespace {

// Eight vectors of four numbers: enough independent sums to hide the latency of an addition.
constexpr int kSums = 8;
constexpr int kLanes = 4;

float run(std::int64_t steps) noexcept {
  float sums[kSums][kLanes];
  float factors[kLanes];
  for (int j = 0; j < kLanes; ++j) {
    factors[j] = 1.0F - static_cast<float>(j + 1) * 0x1p-12F;
    for (int i = 0; i < kSums; ++i) sums[i][j] = static_cast<float>(i + 1);
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    for (auto& row : sums) {
      for (int j = 0; j < kLanes; ++j) row[j] = row[j] * factors[j] + factors[j];
    }
  }
  float total = 0;
  for (const auto& row : sums) {
    for (const float value : row) total += value;
  }
  return total;
}

}  // namespace

const PeakKernel kPeakF32 = {"peak_f32_ref", "fp32", 0, false, 2LL * kSums* kLanes, run};

}  // namespace awq::kernels::ref
