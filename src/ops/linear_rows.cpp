// Products whose rows do not depend on how many rows there are.

#include <omp.h>

#include <algorithm>

#include "base/check.h"
#include "base/cpu_features.h"
#include "ops/linear.h"
#include "ops/linear_scratch.h"
#include "ops/team_work.h"

namespace awq::ops {
namespace {

// Outputs whose weights stay in the second-level cache while all rows of x pass by.
constexpr std::int64_t kTileOutputs = 96;
// Rows of dense weights go to threads in runs of this many, which the tiles of all kernels divide.
constexpr std::int64_t kRowsPerRun = 24;

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

BlockRange thread_rows(std::int64_t rows, int thread, int threads) {
  const std::int64_t runs = (rows + kRowsPerRun - 1) / kRowsPerRun;
  return {std::min(rows, runs * thread / threads * kRowsPerRun),
          std::min(rows, runs * (thread + 1) / threads * kRowsPerRun)};
}

bool takes_bf16_inputs(kernels::WeightKind kind) { return kind == kernels::WeightKind::kBf16 && rounds_to_bf16(); }

const char* linear_objection(const kernels::LinearKernel& kernel, const kernels::LinearArgs& args) {
  if (kernel.min_isa > static_cast<std::uint8_t>(active_isa())) return "the processor or --isa does not allow it";
  if (kernel.round_inputs != nullptr && !has_native_bf16()) return "the processor has no bf16 products";
  if (kernel.round_inputs != nullptr && !takes_bf16_inputs(kernel.kind)) return "rounds inputs, --activations does not";
  return kernel.supports(args);
}

const kernels::LinearKernel& select_linear(kernels::WeightKind kind, const kernels::LinearArgs& args) {
  const kernels::LinearKernel* row = kernels::linear_kernels_cpu();
  while (row->name != nullptr && (row->kind != kind || linear_objection(*row, args) != nullptr)) ++row;
  AWQ_CHECK(row->name != nullptr);
  return *row;
}

void Linear::forward_dense_rows(const float* x, std::int64_t m, float* y) const {
  kernels::LinearArgs all{.m = std::min(m, kernels::kMaxRows),
                          .n = static_cast<std::int64_t>(n_),
                          .k = static_cast<std::int64_t>(k_),
                          .x = x,
                          .weight = weight_.data(),
                          .bias = bias_.data(),
                          .y = y};
  const kernels::LinearKernel& kernel = select_linear(kind_, all);
  if (kernel.round_inputs != nullptr) {
    reserve(m);
    std::uint16_t* halves = linear_scratch().halves.data();
#pragma omp parallel for schedule(static) if (m * all.k > kSerialInputs)
    for (std::int64_t row = 0; row < m; ++row) kernel.round_inputs(x + row * all.k, all.k, halves + row * all.k);
    all.x_bf16 = halves;
  }
  if (m > kernels::kMaxRows) {
    return in_tiles(m, kernels::kMaxRows, all.n, all.k,
                    [&](std::int64_t row, std::int64_t rows, std::int64_t begin, std::int64_t end) {
                      kernels::LinearArgs args = all;
                      args.m = rows;
                      args.x = all.x + row * all.k;
                      if (all.x_bf16 != nullptr) args.x_bf16 = all.x_bf16 + row * all.k;
                      args.y = y + row * all.n;
                      args.weights_near = row > 0;
                      kernel.run(args, begin, end);
                    });
  }
  const bool together = all.n * all.k > kSerialProducts;
  const TeamPart part{.count = all.n,
                      .piece = piece_units(static_cast<std::int64_t>(weight_.size()) / all.n, kRowsPerRun),
                      .divide = thread_rows};
  TeamWork work({&part, 1}, together ? omp_get_max_threads() : 1);
#pragma omp parallel if (together)
  work.run(omp_get_thread_num(), omp_get_num_threads(),
           [&](std::size_t, std::int64_t begin, std::int64_t end) { kernel.run(all, begin, end); });
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
