#include "ops/elementwise.h"

#include <cmath>

namespace awq::ops {
namespace {
// Below this many elements a parallel region costs more than it saves.
constexpr std::int64_t kParallelFrom = 32768;
}  // namespace

void rms_norm(const float* x, std::int64_t rows, std::int64_t width, const float* weight, float eps, float* y) {
#pragma omp parallel for schedule(static) if (rows * width >= kParallelFrom)
  for (std::int64_t t = 0; t < rows; ++t) {
    const float* from = x + t * width;
    double sum = 0;
    for (std::int64_t i = 0; i < width; ++i) sum += static_cast<double>(from[i]) * from[i];
    const float factor = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(width) + eps));
    float* to = y + t * width;
    for (std::int64_t i = 0; i < width; ++i) to[i] = from[i] * factor * weight[i];
  }
}

void silu_multiply(float* gate, const float* up, std::int64_t count) {
#pragma omp parallel for simd schedule(static) if (count >= kParallelFrom)
  for (std::int64_t i = 0; i < count; ++i) gate[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
}

void add_to(float* x, const float* y, std::int64_t count) {
#pragma omp parallel for simd schedule(static) if (count >= kParallelFrom)
  for (std::int64_t i = 0; i < count; ++i) x[i] += y[i];
}

}  // namespace awq::ops
