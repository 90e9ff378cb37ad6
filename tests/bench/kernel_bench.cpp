// Microbenchmark of the processor's kernels. Each is checked against the reference before it is timed. Rows that wait
// for memory read weights, keys and values that do not fit the cache; GB/s counts what they read, "share" is of a plain
// sequential reader in the same run. Rows that compute are given beside oneDNN's product in the same run.
// Threads by OMP_NUM_THREADS, rows by --benchmark_filter, e.g. 'plain_reader|i8_u4g.*/1/'.

#include <benchmark/benchmark.h>
#include <omp.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernel_bench.h"
#include "ops/gemm.h"

namespace awq::kernels {
namespace {

double g_reader_rate = 0;
double g_onednn_rate = 0;

/// One sequential stream per thread, eight sums of 64-bit words.
void plain_reader(benchmark::State& state) {
  AlignedBuffer<std::uint64_t> memory(kColdBytes / 8);
  const auto words = static_cast<std::int64_t>(memory.size());
  const auto begin_of = [&](std::int64_t thread) { return words * thread / omp_get_num_threads() / 8 * 8; };
#pragma omp parallel
  {
    const std::int64_t thread = omp_get_thread_num();
    std::fill(memory.data() + begin_of(thread), memory.data() + begin_of(thread + 1), 1);
  }
  double seconds = 1e9;
  for (auto _ : state) {
    const double start = bench_now();
    std::uint64_t total = 0;
#pragma omp parallel reduction(+ : total)
    {
      const std::int64_t thread = omp_get_thread_num();
      const std::int64_t end = begin_of(thread + 1);
      std::uint64_t sum[8] = {};
      for (std::int64_t i = begin_of(thread); i < end; i += 8) {
        for (int j = 0; j < 8; ++j) sum[j] += memory.data()[i + j];
      }
      for (const std::uint64_t s : sum) total += s;
    }
    benchmark::DoNotOptimize(total);
    seconds = std::min(seconds, bench_now() - start);
  }
  g_reader_rate = static_cast<double>(kColdBytes) / seconds;
  state.counters["GB/s"] = g_reader_rate / 1e9;
}

void onednn_f32(benchmark::State& state) {
  constexpr std::int64_t kSize = 2048;
  std::vector<float> a(kSize * kSize, 0.5F), b(kSize * kSize, 0.25F), c(kSize * kSize);
  double seconds = 1e9;
  for (auto _ : state) {
    const double start = bench_now();
    ops::gemm(ops::GemmF32{.transpose_b = true,
                           .m = kSize,
                           .n = kSize,
                           .k = kSize,
                           .a = a.data(),
                           .lda = kSize,
                           .b = b.data(),
                           .ldb = kSize,
                           .c = c.data(),
                           .ldc = kSize});
    seconds = std::min(seconds, bench_now() - start);
  }
  g_onednn_rate = 2.0 * kSize * kSize * kSize / seconds;
  state.counters["GFLOP/s"] = g_onednn_rate / 1e9;
}

}  // namespace

double bench_now() {
  if (omp_get_max_threads() > 1) return omp_get_wtime();
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double reader_rate() { return g_reader_rate; }
double onednn_rate() { return g_onednn_rate; }

}  // namespace awq::kernels

int main(int argc, char** argv) {
  using namespace awq::kernels;
  awq::ops::configure_threads(omp_get_max_threads());  // the cap on instructions (AWQ_ISA) reaches oneDNN too
  benchmark::RegisterBenchmark("plain_reader", plain_reader)->Iterations(8)->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("onednn_f32", onednn_f32)->Iterations(8)->Unit(benchmark::kMillisecond);
  add_packed_rows();
  add_attention_rows();
  add_dense_rows();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
