// Packed weights with integer activations; what loading and rounding cost.

#include <benchmark/benchmark.h>
#include <omp.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/cpu_features.h"
#include "kernel_bench.h"
#include "kernels/api/packed.h"
#include "kernels/packed_test_support.h"
#include "kernels/ref/packed_ref.h"
#include "ops/parallel.h"

namespace awq::kernels {
namespace {

/// Copies of one packed weight, as many as exceed the cache, touched first by the threads that read them.
struct ColdWeights {
  test::PackedProblem problem;
  std::int64_t copies;
  AlignedBuffer<std::uint8_t> memory;

  explicit ColdWeights(const test::PackedShape& shape) : problem(shape, true, 1) {
    const std::int64_t bytes = problem.layout.bytes();
    copies = (kColdBytes + bytes - 1) / bytes;
    memory = AlignedBuffer<std::uint8_t>(static_cast<std::size_t>(copies * bytes));
#pragma omp parallel
    for (std::int64_t i = 0; i < copies; ++i) {
      const PackedLayout& layout = problem.layout;
      const ops::BlockRange range = ops::thread_blocks(layout.blocks(), omp_get_thread_num(), omp_get_num_threads());
      for (std::int64_t b = range.begin; b < range.end; ++b) {
        pack_block(layout, problem.source(), b, memory.data() + i * bytes);
      }
    }
  }
};

ColdWeights& weights_of(const test::PackedShape& shape) {
  static std::unique_ptr<ColdWeights> current;  // one at a time: they are large
  static test::PackedShape made{};
  if (!current || made.n != shape.n || made.k != shape.k || made.bits != shape.bits ||
      made.group_size != shape.group_size) {
    current.reset();
    current = std::make_unique<ColdWeights>(shape);
    made = shape;
  }
  return *current;
}

void check(const PackedKernel& kernel, const ColdWeights& w, const test::ActivationMemory& a,
           const std::vector<float>& x, const test::PackedShape& shape) {
  // The first 256 outputs are enough to tell a wrong kernel, and all blocks are alike.
  test::PackedShape part = shape;
  part.n = std::min<std::int64_t>(shape.n, 256);
  const test::PackedProblem small(part, true, 2);
  const std::int64_t rows = std::min<std::int64_t>(a.x.m, 16);
  const std::vector<float> few(x.begin(), x.begin() + rows * shape.k);
  const test::ActivationMemory rounded(part, rows, kernel.panel_rows, kernel.planes, kernel.row_major, few,
                                       ref::kQuantizeActivations);
  const PackedKernel& judge = kernel.bits == 4 ? (kernel.planes == 1 ? ref::kI8U4 : ref::kI15U4)
                                               : (kernel.planes == 1 ? ref::kI8U8 : ref::kI15U8);
  if (small.run(kernel, rounded, true) != small.run(judge, rounded, true)) {
    std::fprintf(stderr, "%s differs from the reference\n", kernel.name);
    std::exit(1);
  }
  benchmark::DoNotOptimize(w.copies);
}

void time_kernel(benchmark::State& state, const PackedKernel& kernel, const test::PackedShape& shape, std::int64_t m) {
  ColdWeights& w = weights_of(shape);
  const PackedLayout& layout = w.problem.layout;
  const std::vector<float> x = test::random_inputs(m, shape.k, 3);
  const ActivationQuantizer* quantizer = activation_quantizers_cpu();
  while (quantizer->min_isa > static_cast<std::uint8_t>(active_isa())) ++quantizer;
  const test::ActivationMemory a(shape, m, kernel.panel_rows, kernel.planes, kernel.row_major, x, *quantizer);
  check(kernel, w, a, x, shape);
  const test::PreparedActivations prepared(kernel, a);
  std::vector<float> y(static_cast<std::size_t>(m * layout.n));
  const std::int64_t copies = std::max<std::int64_t>(1, m <= 8 ? w.copies : w.copies * 8 / m);
  const std::int64_t panels = a.x.panels();
  constexpr std::int64_t kPiece = 16;
  double seconds = 1e9;
  for (auto _ : state) {
    const double start = bench_now();
#pragma omp parallel
    for (std::int64_t c = 0; c < copies; ++c) {
      const PackedArgs args{
          .layout = layout, .weight = w.memory.data() + c * layout.bytes(), .x = prepared.x, .y = y.data()};
      const ops::BlockRange range = ops::thread_blocks(layout.blocks(), omp_get_thread_num(), omp_get_num_threads());
      for (std::int64_t b = range.begin; b < range.end;) {
        const std::int64_t end = panels < 8 ? range.end : std::min(range.end, b + 4);
        for (std::int64_t p = 0; p < panels; p += kPiece) {
          kernel.run(args, b, end, p, std::min(panels, p + kPiece));
        }
        b = end;
      }
#pragma omp barrier
    }
    seconds = std::min(seconds, bench_now() - start);
  }
  const double bytes = static_cast<double>(copies * layout.bytes());
  state.counters["GB/s"] = bytes / seconds / 1e9;
  if (reader_rate() > 0) state.counters["share"] = bytes / seconds / reader_rate();
  state.counters["TOP/s"] = 2.0 * static_cast<double>(copies * m * shape.n * shape.k) / seconds / 1e12;
}

/// What loading spends on the layout, per thread: from one byte per code to packed blocks.
void time_packing(benchmark::State& state) {
  const test::PackedProblem p({2048, 2048, 128, 4}, true, 1);
  AlignedBuffer<std::uint8_t> out(static_cast<std::size_t>(p.layout.bytes()));
  double seconds = 1e9;
  for (auto _ : state) {
    const double start = bench_now();
    for (std::int64_t b = 0; b < p.layout.blocks(); ++b) {
      pack_block(p.layout, p.source(), b, out.data());
    }
    seconds = std::min(seconds, bench_now() - start);
  }
  state.counters["Gweights/s"] = 2048.0 * 2048.0 / seconds / 1e9;
}

/// Rounding of activations, per thread.
void time_rounding(benchmark::State& state) {
  const test::PackedShape shape{16, 2048, 128, 4};
  constexpr std::int64_t kRows = 96;
  const std::vector<float> x = test::random_inputs(kRows, shape.k, 3);
  const ActivationQuantizer* quantizer = activation_quantizers_cpu();
  while (quantizer->min_isa > static_cast<std::uint8_t>(active_isa())) ++quantizer;
  const test::ActivationMemory a(shape, kRows, 8, 1, false, x, *quantizer);
  double seconds = 1e9;
  for (auto _ : state) {
    const double start = bench_now();
    for (std::int64_t row = 0; row < kRows; ++row) quantizer->run(a.x, x.data(), row);
    seconds = std::min(seconds, bench_now() - start);
  }
  state.counters["Ginputs/s"] = static_cast<double>(kRows * shape.k) / seconds / 1e9;
}

}  // namespace

void add_packed_rows() {
  benchmark::RegisterBenchmark("pack_block", time_packing)->Iterations(10)->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("round_activations", time_rounding)->Iterations(50)->Unit(benchmark::kMillisecond);
  const std::vector<std::pair<std::int64_t, std::int64_t>> shapes = {{2048, 2048}, {5632, 2048}, {2048, 5632}};
  for (const auto& [n, k] : shapes) {
    for (const PackedKernel* row = packed_kernels_cpu(); row->name != nullptr; ++row) {
      if (row->min_isa == 0 || row->min_isa > static_cast<std::uint8_t>(active_isa()) ||
          (row->feature != CpuFeature::kNone && row->feature != CpuFeature::kFreeAdditions)) {
        continue;
      }
      for (const std::int64_t m : {1, 2, 4, 6, 8, 12, 16, 32, 64, 512}) {
        const test::PackedShape shape{n, k, 128, row->bits};
        const std::string name =
            std::string(row->name) + "/" + std::to_string(m) + "/" + std::to_string(n) + "x" + std::to_string(k);
        benchmark::RegisterBenchmark(name.c_str(),
                                     [row, shape, m](benchmark::State& state) { time_kernel(state, *row, shape, m); })
            ->Iterations(m <= 4 ? 8 : 4)
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace awq::kernels
