// Products of 16-bit weights: the kernels that run unquantized layers, and oneDNN's product in bf16 beside them.

#include <benchmark/benchmark.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/cpu_features.h"
#include "base/float16.h"
#include "kernel_bench.h"
#include "kernels/api/linear.h"
#include "kernels/packed_test_support.h"
#include "kernels/ref/linear_ref.h"
#include "ops/gemm.h"
#include "tolerances.h"

namespace awq::kernels {
namespace {

struct Shape {
  std::int64_t n, k;
  bool operator==(const Shape&) const = default;
};

/// Copies of one weight [n, k], as many as exceed the cache, touched first by the threads that read them.
struct ColdWeights {
  WeightKind kind;
  Shape shape;
  std::int64_t bytes, copies;
  AlignedBuffer<std::uint16_t> memory;

  ColdWeights(WeightKind of, const Shape& size)
      : kind(of), shape(size), bytes(size.n * size.k * 2), copies((kColdBytes + bytes - 1) / bytes) {
    std::vector<std::uint16_t> one;
    for (std::int64_t i = 0; i < size.n * size.k; ++i) {
      const float value = test::draw(7, i);
      one.push_back(of == WeightKind::kBf16 ? to_bf16(value).bits : to_f16(value).bits);
    }
    memory = AlignedBuffer<std::uint16_t>(one.size() * static_cast<std::size_t>(copies));
#pragma omp parallel
    for (std::int64_t c = 0; c < copies; ++c) {
      const std::int64_t row = size.n * omp_get_thread_num() / omp_get_num_threads();
      const std::int64_t end = size.n * (omp_get_thread_num() + 1) / omp_get_num_threads();
      std::memcpy(memory.data() + (c * size.n + row) * size.k, one.data() + row * size.k,
                  static_cast<std::size_t>((end - row) * size.k * 2));
    }
  }
  const std::uint16_t* copy(std::int64_t c) const { return memory.data() + c * shape.n * shape.k; }
};

const ColdWeights& weights_of(WeightKind kind, const Shape& shape) {
  static std::unique_ptr<ColdWeights> current;  // one at a time: they are large
  if (!current || current->kind != kind || !(current->shape == shape)) {
    current.reset();
    current = std::make_unique<ColdWeights>(kind, shape);
  }
  return *current;
}

/// Operations per second of oneDNN by rows and shape.
double& onednn_bf16(std::int64_t m, const Shape& shape) {
  static std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, double> rates;
  return rates[{m, shape.n, shape.k}];
}

void check(const LinearKernel& kernel, const LinearArgs& args) {
  const std::int64_t outputs = std::min<std::int64_t>(args.n, 256);
  const LinearKernel& judge = kernel.kind == WeightKind::kBf16 ? ref::kBf16 : ref::kF16;
  LinearArgs judged = args;
  std::vector<float> expected(static_cast<std::size_t>(args.m * args.n));
  judged.y = expected.data();
  kernel.run(args, 0, outputs);
  judge.run(judged, 0, outputs);
  const std::int64_t k = args.k;
  for (std::int64_t m = 0; m < args.m; ++m) {
    double squares = 0;  // weights are within 1
    for (std::int64_t i = 0; i < k; ++i) squares += static_cast<double>(args.x[m * k + i]) * args.x[m * k + i];
    const double bound = std::sqrt(squares) * 0x1p-24 *
                         (tolerance::kDotSigmas * std::sqrt(static_cast<double>(k)) + tolerance::kDotFloor);
    for (std::int64_t n = 0; n < outputs; ++n) {
      const float want = expected[static_cast<std::size_t>(m * args.n + n)];
      if (std::fabs(static_cast<double>(args.y[m * args.n + n]) - want) <= bound) continue;
      std::fprintf(stderr, "%s differs from the reference\n", kernel.name);
      std::exit(1);
    }
  }
}

void report(benchmark::State& state, const ColdWeights& w, std::int64_t copies, std::int64_t m, double seconds) {
  const double rate = static_cast<double>(copies * w.bytes) / seconds;
  state.counters["GB/s"] = rate / 1e9;
  if (reader_rate() > 0) state.counters["share"] = rate / reader_rate();
  state.counters["GFLOP/s"] = rate * static_cast<double>(m) / 1e9;
}

std::int64_t copies_for(const ColdWeights& w, std::int64_t m) {
  return std::max<std::int64_t>(1, m <= 8 ? w.copies : w.copies * 8 / m);
}

void time_kernel(benchmark::State& state, const LinearKernel& kernel, const Shape& shape, std::int64_t m) {
  const ColdWeights& w = weights_of(kernel.kind, shape);
  std::vector<float> x = test::random_inputs(m, shape.k, 3);
  std::vector<std::uint16_t> rounded(x.size());
  if (kernel.round_inputs != nullptr) {
    kernel.round_inputs(x.data(), m * shape.k, rounded.data());
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = to_float(Bf16{rounded[i]});
  }
  std::vector<float> y(static_cast<std::size_t>(m * shape.n));
  const LinearArgs first{.m = std::min(m, kMaxRows),
                         .n = shape.n,
                         .k = shape.k,
                         .x = x.data(),
                         .x_bf16 = rounded.data(),
                         .weight = w.copy(0),
                         .y = y.data()};
  check(kernel, first);
  const std::int64_t copies = copies_for(w, m);
  // Few outputs go to all rows while they are in the cache, as ops/linear_rows.cpp does it.
  const std::int64_t tile = m <= kMaxRows ? 24 : 96;
  double seconds = 1e9;
  for (auto _ : state) {
    const double start = bench_now();
#pragma omp parallel
    for (std::int64_t c = 0; c < copies; ++c) {
#pragma omp for schedule(static)
      for (std::int64_t n = 0; n < shape.n; n += tile) {
        for (std::int64_t row = 0; row < m; row += kMaxRows) {
          LinearArgs args = first;
          args.m = std::min(kMaxRows, m - row);
          args.x = first.x + row * shape.k;
          args.x_bf16 = first.x_bf16 + row * shape.k;
          args.weights_near = row > 0;
          args.y = y.data() + row * shape.n;
          args.weight = w.copy(c);
          kernel.run(args, n, std::min(shape.n, n + tile));
        }
      }
    }
    seconds = std::min(seconds, bench_now() - start);
  }
  report(state, w, copies, m, seconds);
  const double rate = 2.0 * static_cast<double>(copies * m * shape.n * shape.k) / seconds;
  if (onednn_bf16(m, shape) > 0) state.counters["of_onednn"] = rate / onednn_bf16(m, shape);
}

void time_onednn(benchmark::State& state, const Shape& shape, std::int64_t m) {
  const ColdWeights& w = weights_of(WeightKind::kBf16, shape);
  std::vector<Bf16> x;
  for (const float value : test::random_inputs(m, shape.k, 3)) x.push_back(to_bf16(value));
  std::vector<float> y(static_cast<std::size_t>(m * shape.n));
  const std::int64_t copies = copies_for(w, m);
  double seconds = 1e9;
  for (auto _ : state) {
    const double start = bench_now();
    for (std::int64_t c = 0; c < copies; ++c) {
      ops::gemm(ops::GemmBf16{.transpose_b = true,
                              .m = m,
                              .n = shape.n,
                              .k = shape.k,
                              .a = x.data(),
                              .lda = shape.k,
                              .b = reinterpret_cast<const Bf16*>(w.copy(c)),
                              .ldb = shape.k,
                              .c = y.data(),
                              .ldc = shape.n});
    }
    seconds = std::min(seconds, bench_now() - start);
  }
  report(state, w, copies, m, seconds);
  onednn_bf16(m, shape) = 2.0 * static_cast<double>(copies * m * shape.n * shape.k) / seconds;
}

std::string row_name(const char* kernel, std::int64_t m, const Shape& shape) {
  return std::string(kernel) + "/" + std::to_string(m) + "/" + std::to_string(shape.n) + "x" + std::to_string(shape.k);
}

template <typename Run>
void add_row(const std::string& name, std::int64_t m, Run run) {
  benchmark::RegisterBenchmark(name.c_str(), run)->Iterations(m <= 4 ? 8 : 4)->Unit(benchmark::kMillisecond);
}

}  // namespace

void add_dense_rows() {
  constexpr std::int64_t kRows[] = {1, 2, 4, 8, 32, 128, 512};
  for (const Shape& shape : {Shape{2048, 2048}, Shape{2048, 5632}}) {
    if (has_native_bf16()) {
      for (const std::int64_t m : kRows) {
        add_row(row_name("onednn_bf16", m, shape), m,
                [shape, m](benchmark::State& state) { time_onednn(state, shape, m); });
      }
    }
    for (const WeightKind kind : {WeightKind::kBf16, WeightKind::kF16}) {
      for (const LinearKernel* row = linear_kernels_cpu(); row->name != nullptr; ++row) {
        if (row->kind != kind || row->min_isa == 0 || row->min_isa > static_cast<std::uint8_t>(active_isa())) continue;
        if (row->round_inputs != nullptr && !has_native_bf16()) continue;
        for (const std::int64_t m : kRows) {
          add_row(row_name(row->name, m, shape), m,
                  [row, shape, m](benchmark::State& state) { time_kernel(state, *row, shape, m); });
        }
      }
    }
  }
}

}  // namespace awq::kernels
