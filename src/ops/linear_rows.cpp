// Products whose rows do not depend on how many rows there are.

#include <omp.h>

#include <algorithm>

#include "base/check.h"
#include "ops/linear.h"
#include "ops/linear_scratch.h"
#include "ops/team_work.h"

namespace awq::ops {
namespace {

// Outputs whose weights stay in the second-level cache while all rows of x pass by.
constexpr std::int64_t kTileOutputs = 96;
// Products that one thread finishes before a second one has begun.
constexpr std::int64_t kSerialProducts = 1 << 16;

BlockRange thread_tiles(std::int64_t tiles, int thread, int threads) {
  return {tiles * thread / threads, tiles * (thread + 1) / threads};
}

/// run(first row, rows, first output, end) for every tile of outputs and every few rows.
template <typename Run>
void in_tiles(std::int64_t m, std::int64_t rows, std::int64_t n, std::int64_t k, const Run& run) {
  const std::int64_t tiles = (n + kTileOutputs - 1) / kTileOutputs;
  const bool together = m * n * k > kSerialProducts;
  const TeamPart part{.count = tiles, .divide = thread_tiles};
  TeamWork work({&part, 1}, together ? omp_get_max_threads() : 1);
#pragma omp parallel if (together)
  work.run(omp_get_thread_num(), omp_get_num_threads(), [&](std::size_t, std::int64_t first, std::int64_t last) {
    for (std::int64_t tile = first; tile < last; ++tile) {
      for (std::int64_t begin = 0; begin < m; begin += rows) {
        run(begin, std::min(rows, m - begin), tile * kTileOutputs, std::min(n, (tile + 1) * kTileOutputs));
      }
    }
  });
}

}  // namespace

void Linear::forward_dense_rows(const float* x, std::int64_t m, float* y) const {
  const kernels::LinearArgs all{.m = std::min(m, kernels::kMaxRows),
                                .n = static_cast<std::int64_t>(n_),
                                .k = static_cast<std::int64_t>(k_),
                                .weight = weight_.data(),
                                .bias = bias_.data()};
  const kernels::LinearKernel& kernel = select_linear(kind_, all);
  in_tiles(m, kernels::kMaxRows, all.n, all.k,
           [&](std::int64_t row, std::int64_t rows, std::int64_t begin, std::int64_t end) {
             kernels::LinearArgs args = all;
             args.m = rows;
             args.x = x + row * all.k;
             args.y = y + row * all.n;
             kernel.run(args, begin, end);
           });
}

void Linear::forward_packed_rows(const float* x, std::int64_t m, float* y) const {
  AlignedBuffer<float>& sums = linear_scratch().group_sums;
  const std::int64_t groups = packed_.groups();
  sums.ensure(static_cast<std::size_t>(m * groups));
  float* group_sums = sums.data();
#pragma omp parallel for schedule(static) if (m * packed_.k > kSerialProducts)
  for (std::int64_t i = 0; i < m * groups; ++i) {
    const float* begin = x + i / groups * packed_.k + i % groups * packed_.group_size;
    float sum = 0;
    for (std::int64_t j = 0; j < packed_.group_size; ++j) sum += begin[j];
    group_sums[i] = sum;
  }
  const kernels::PackedFloatKernel& kernel = select_packed_float(packed_.bits);
  in_tiles(m, kernels::kMaxPackedFloatRows, packed_.n, packed_.k,
           [&](std::int64_t row, std::int64_t rows, std::int64_t begin, std::int64_t end) {
             const kernels::PackedFloatArgs args{.layout = packed_,
                                                 .weight = packed_weight(),
                                                 .bias = bias_.data(),
                                                 .m = rows,
                                                 .x = x + row * packed_.k,
                                                 .x_group_sums = group_sums + row * groups,
                                                 .y = y + row * packed_.n};
             const std::int64_t last = (end + kernels::kBlockOutputs - 1) / kernels::kBlockOutputs;
             kernel.run(args, begin / kernels::kBlockOutputs, last);
           });
}

void forward_rows_alike(std::span<const Linear* const> linears, const float* x, std::int64_t m,
                        std::span<float* const> ys) {
  AWQ_CHECK(linears.size() == ys.size());
  const auto exact = [](const Linear* linear) { return linear->row_invariant(); };
  if (std::all_of(linears.begin(), linears.end(), exact)) return forward_together(linears, x, m, ys);
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const Linear& linear = *linears[i];
    if (exact(&linear) || m <= (linear.quantized() ? kernels::kMaxPackedFloatRows : kernels::kMaxRows)) {
      linear.forward(x, m, ys[i]);
    } else if (linear.quantized()) {
      linear.forward_packed_rows(linear.in_order(x, m), m, ys[i]);
    } else {
      linear.forward_dense_rows(x, m, ys[i]);
    }
  }
}

}  // namespace awq::ops
