// Linears from packed weights: rounding of the inputs, choice of the kernel, and who computes what.

#include <omp.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "base/cpu_features.h"
#include "ops/linear.h"
#include "ops/linear_scratch.h"
#include "ops/team_work.h"

namespace awq::ops {
namespace {

using kernels::ActivationQuantizer;
using kernels::Activations;
using kernels::PackedArgs;
using kernels::PackedKernel;
using kernels::PackedLayout;

const ActivationQuantizer& select_quantizer() {
  const ActivationQuantizer* row = kernels::activation_quantizers_cpu();
  while (row->min_isa > static_cast<std::uint8_t>(active_isa())) ++row;
  return *row;
}

// Panels from which work is cut both ways, into pieces of this many blocks and panels: the weights of a piece and its
// panels fit the second-level cache together.
constexpr std::int64_t kManyPanels = 8;
constexpr std::int64_t kPieceBlocks = 4;
constexpr std::int64_t kPiecePanels = 16;

constexpr std::size_t kMostTogether = 8;

int team_threads(std::int64_t products) { return products > kSerialProducts ? omp_get_max_threads() : 1; }

int process_planes() { return activation_precision() == ActivationPrecision::kInt15 ? 2 : 1; }

/// One linear of a call with the kernel that computes it.
struct Job {
  PackedArgs args;
  const PackedKernel* kernel = nullptr;
};

TeamPart part_of(const PackedLayout& layout) {
  return {.count = layout.blocks(), .piece = piece_units(layout.code_bytes(), kPieceBlocks), .divide = thread_blocks};
}

void run_jobs(std::span<const Job> jobs, const float* x) {
  const Activations& activations = jobs.front().args.x;
  const std::int64_t m = activations.m;
  const ActivationQuantizer& quantizer = select_quantizer();
  std::int64_t products = 0;
  for (const Job& job : jobs) products += job.args.layout.n * activations.k * m;
  const auto prepare = jobs.front().kernel->prepare;
  const bool round_first = m * activations.k <= kSerialInputs && prepare == nullptr;
  if (round_first) {
    for (std::int64_t row = 0; row < m; ++row) quantizer.run(activations, x, row);
  }
  const std::int64_t panels = activations.panels();
  const bool many = panels >= kManyPanels;
  std::array<TeamPart, kMostTogether> parts;
  for (std::size_t i = 0; i < jobs.size(); ++i) parts[i] = part_of(jobs[i].args.layout);
  TeamWork few({parts.data(), many ? 0 : jobs.size()}, team_threads(products));
#pragma omp parallel if (products > kSerialProducts)
  {
    if (prepare != nullptr) {
#pragma omp for schedule(static)
      for (std::int64_t p = 0; p < panels; ++p) {
        for (std::int64_t row = activations.panel_begin(p); row < activations.panel_begin(p + 1); ++row) {
          quantizer.run(activations, x, row);
        }
        prepare(activations, p);
      }
    } else if (!round_first) {
#pragma omp for schedule(static)
      for (std::int64_t row = 0; row < m; ++row) quantizer.run(activations, x, row);
    }
    few.run(omp_get_thread_num(), omp_get_num_threads(), [&](std::size_t i, std::int64_t begin, std::int64_t end) {
      jobs[i].kernel->run(jobs[i].args, begin, end, 0, panels);
    });
    for (const Job& job : jobs.first(many ? jobs.size() : 0)) {
      const std::int64_t blocks = job.args.layout.blocks();
      const std::int64_t down = (blocks + kPieceBlocks - 1) / kPieceBlocks;
      const std::int64_t across = (panels + kPiecePanels - 1) / kPiecePanels;
#pragma omp for schedule(dynamic) nowait
      for (std::int64_t piece = 0; piece < down * across; ++piece) {
        const std::int64_t block = piece / across * kPieceBlocks;
        const std::int64_t panel = piece % across * kPiecePanels;
        job.kernel->run(job.args, block, std::min(block + kPieceBlocks, blocks), panel,
                        std::min(panel + kPiecePanels, panels));
      }
    }
  }
}

bool same_rounding(const Job& a, const Job& b) {
  return a.args.layout.k == b.args.layout.k && a.args.layout.group_size == b.args.layout.group_size &&
         a.kernel->panel_rows == b.kernel->panel_rows && a.kernel->row_major == b.kernel->row_major &&
         a.kernel->prepare == b.kernel->prepare;
}

void reserve_activations(LinearScratch& s, const Activations& x) {
  s.codes.ensure(static_cast<std::size_t>(x.m * x.planes * x.padded_k()));
  s.scales.ensure(static_cast<std::size_t>(x.m * x.scale_blocks()));
  s.minus_sums.ensure(static_cast<std::size_t>(x.m * x.groups()));
  s.minus_pairs.ensure(static_cast<std::size_t>(x.m * x.scale_blocks()));
}

void prepare_activations(std::span<Job> jobs, std::int64_t m, int planes) {
  const Job& first = jobs.front();
  Activations x{.m = m,
                .panel_rows = first.kernel->panel_rows,
                .k = first.args.layout.k,
                .group_size = first.args.layout.group_size,
                .planes = planes,
                .row_major = first.kernel->row_major};
  LinearScratch& s = linear_scratch();
  reserve_activations(s, x);
  x.codes = s.codes.data();
  x.scales = s.scales.data();
  x.minus_sums = s.minus_sums.data();
  x.minus_pairs = s.minus_pairs.data();
  for (Job& job : jobs) job.args.x = x;
}

}  // namespace

LinearScratch& linear_scratch() {
  thread_local LinearScratch buffers;
  return buffers;
}

BlockRange thread_blocks(std::int64_t blocks, int thread, int threads) {
  // Four blocks are the streams of one reader, and 64 outputs fill whole cache lines of y; with few blocks balance
  // counts more.
  const std::int64_t unit = blocks >= 16 * threads ? 4 : 1;
  const std::int64_t units = (blocks + unit - 1) / unit;
  return {std::min(blocks, units * thread / threads * unit), std::min(blocks, units * (thread + 1) / threads * unit)};
}

const char* packed_objection(const PackedKernel& kernel) {
  if (kernel.min_isa > static_cast<std::uint8_t>(active_isa())) return "the processor or --isa does not allow it";
  switch (kernel.feature) {
    case kernels::CpuFeature::kNone:
      break;
    case kernels::CpuFeature::kAvxVnni:
      if (!has_avx_vnni()) return "the processor has no AVX-VNNI";
      break;
    case kernels::CpuFeature::kDotProduct:
      if (!has_arm_dot_product()) return "the processor has no dot product of bytes";
      break;
    case kernels::CpuFeature::kInt8Matrix:
      if (!has_arm_int8_matrix()) return "the processor has no I8MM";
      break;
    case kernels::CpuFeature::kFreeAdditions:
      if (!has_free_additions()) return "slower than the next one here: it pays on Zen 4";
      break;
  }
  return nullptr;
}

const PackedKernel& select_packed(int bits, int planes, std::int64_t m) {
  const PackedKernel* row = kernels::packed_kernels_cpu();
  while (row->name != nullptr &&
         (row->bits != bits || row->planes != planes || m < row->min_rows || packed_objection(*row) != nullptr)) {
    ++row;
  }
  AWQ_CHECK(row->name != nullptr);
  return *row;
}

const kernels::PackedFloatKernel& select_packed_float(int bits) {
  const kernels::PackedFloatKernel* row = kernels::packed_float_kernels_cpu();
  while (row->name != nullptr && (row->bits != bits || row->min_isa > static_cast<std::uint8_t>(active_isa()))) ++row;
  AWQ_CHECK(row->name != nullptr);
  return *row;
}

PackedArgs Linear::packed_args(float* y) const {
  return {.layout = packed_, .weight = packed_weight(), .bias = bias_.data(), .x = {}, .y = y};
}

const float* Linear::in_order(const float* x, std::int64_t m) const {
  if (input_order_.empty()) return x;
  linear_scratch().ordered.ensure(static_cast<std::size_t>(m) * k_);
  float* out = linear_scratch().ordered.data();
  const auto width = static_cast<std::int64_t>(k_);
  const std::int32_t* order = input_order_.data();
#pragma omp parallel for schedule(static) if (m * width > kSerialInputs)
  for (std::int64_t row = 0; row < m; ++row) {
    for (std::int64_t j = 0; j < width; ++j) out[row * width + j] = x[row * width + order[j]];
  }
  return out;
}

void Linear::reserve(std::int64_t m) const {
  LinearScratch& s = linear_scratch();
  if (!quantized()) {
    if (takes_bf16_inputs(kind_)) s.halves.ensure(static_cast<std::size_t>(m) * k_);
    return;
  }
  if (!input_order_.empty()) s.ordered.ensure(static_cast<std::size_t>(m) * k_);
  if (activation_precision() == ActivationPrecision::kF32) {
    s.group_sums.ensure(static_cast<std::size_t>(m * packed_.groups()));
  } else {
    reserve_activations(s, {.m = m, .k = packed_.k, .group_size = packed_.group_size, .planes = process_planes()});
  }
}

/// False when the linears cannot share one rounding of x.
bool Linear::run_together(std::span<const Linear* const> linears, const float* x, std::int64_t m,
                          std::span<float* const> ys) {
  if (activation_precision() == ActivationPrecision::kF32 || linears.size() > kMostTogether) return false;
  std::array<Job, kMostTogether> jobs;
  const int planes = process_planes();
  for (std::size_t i = 0; i < linears.size(); ++i) {
    if (!linears[i]->quantized()) return false;
    jobs[i].args = linears[i]->packed_args(ys[i]);
    jobs[i].kernel = &select_packed(jobs[i].args.layout.bits, planes, m);
    if (!same_rounding(jobs[0], jobs[i])) return false;
  }
  const std::span<Job> used(jobs.data(), linears.size());
  prepare_activations(used, m, planes);
  run_jobs(used, x);
  return true;
}

void forward_together(std::span<const Linear* const> linears, const float* x, std::int64_t m,
                      std::span<float* const> ys, Precision precision) {
  AWQ_CHECK(linears.size() == ys.size() && !linears.empty());
  if (m == 0) return;
  // GPTQ orders the inputs by their activations alone, so that all readers of a site usually have the same order.
  const Linear& first = *linears.front();
  const bool one_order = std::all_of(linears.begin(), linears.end(),
                                     [&](const Linear* linear) { return linear->input_order_ == first.input_order_; });
  if (one_order && Linear::run_together(linears, first.in_order(x, m), m, ys)) {
    return;
  }
  for (std::size_t i = 0; i < linears.size(); ++i) linears[i]->forward(x, m, ys[i], precision);
}

void Linear::forward_packed_few(const float* x, std::int64_t m, float* y) const {
  const std::int64_t groups = packed_.groups();
  linear_scratch().group_sums.ensure(static_cast<std::size_t>(m * groups));
  float* sums = linear_scratch().group_sums.data();
  for (std::int64_t i = 0; i < m * groups; ++i) {
    const float* begin = x + i / groups * packed_.k + i % groups * packed_.group_size;
    float sum = 0;
    for (std::int64_t j = 0; j < packed_.group_size; ++j) sum += begin[j];
    sums[i] = sum;
  }
  const kernels::PackedFloatKernel& kernel = select_packed_float(packed_.bits);
  const kernels::PackedFloatArgs args{
      .layout = packed_, .weight = packed_weight(), .bias = bias_.data(), .m = m, .x = x, .x_group_sums = sums, .y = y};
  const TeamPart part = part_of(packed_);
  TeamWork work({&part, 1}, team_threads(packed_.n * packed_.k));
#pragma omp parallel if (packed_.n * packed_.k > kSerialProducts)
  work.run(omp_get_thread_num(), omp_get_num_threads(),
           [&](std::size_t, std::int64_t begin, std::int64_t end) { kernel.run(args, begin, end); });
}

}  // namespace awq::ops
