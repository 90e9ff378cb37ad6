#include "ops/elementwise.h"

#include <algorithm>

#include "base/check.h"
#include "base/checked_math.h"
#include "base/cpu_features.h"

namespace awq::ops {
namespace {

// Below this many elements a parallel region costs more than it saves.
constexpr std::int64_t kParallelFrom = 32768;
// Elements that a task of a flat array takes.
constexpr std::int64_t kTaskElements = 4096;

/// run(begin, count) over pieces of a flat array.
template <typename Run>
void in_pieces(std::int64_t count, const Run& run) {
  const auto pieces =
      static_cast<std::int64_t>(ceil_div(static_cast<std::uint64_t>(count), static_cast<std::uint64_t>(kTaskElements)));
#pragma omp parallel for schedule(static) if (count >= kParallelFrom)
  for (std::int64_t i = 0; i < pieces; ++i) {
    run(i * kTaskElements, std::min(kTaskElements, count - i * kTaskElements));
  }
}

}  // namespace

const kernels::ElementwiseKernel& select_elementwise() {
  const kernels::ElementwiseKernel* row = kernels::elementwise_kernels_cpu();
  while (row->name != nullptr && row->min_isa > static_cast<std::uint8_t>(active_isa())) ++row;
  AWQ_CHECK(row->name != nullptr);
  return *row;
}

void rms_norm(const float* x, std::int64_t rows, std::int64_t width, const float* weight, float eps, float* y) {
  const kernels::ElementwiseKernel& kernel = select_elementwise();
#pragma omp parallel for schedule(static) if (rows * width >= kParallelFrom)
  for (std::int64_t t = 0; t < rows; ++t) kernel.rms_norm(x + t * width, width, weight, eps, y + t * width);
}

void add_rms_norm(float* x, const float* added, std::int64_t rows, std::int64_t width, const float* weight, float eps,
                  float* y) {
  const kernels::ElementwiseKernel& kernel = select_elementwise();
#pragma omp parallel for schedule(static) if (rows * width >= kParallelFrom)
  for (std::int64_t t = 0; t < rows; ++t) {
    kernel.add_rms_norm(x + t * width, added + t * width, width, weight, eps, y + t * width);
  }
}

void silu_multiply(float* gate, const float* up, std::int64_t count) {
  const kernels::ElementwiseKernel& kernel = select_elementwise();
  in_pieces(count, [&](std::int64_t begin, std::int64_t n) { kernel.silu_multiply(gate + begin, up + begin, n); });
}

void add_to(float* x, const float* y, std::int64_t count) {
  const kernels::ElementwiseKernel& kernel = select_elementwise();
  in_pieces(count, [&](std::int64_t begin, std::int64_t n) { kernel.add(x + begin, y + begin, n); });
}

}  // namespace awq::ops
