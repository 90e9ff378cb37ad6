#include "awq/bench.h"

#include "api/setup.h"
#include "bench/bench_run.h"
#include "bench/kernel_bench.h"

namespace awq {

BenchSummary bench_model(const BenchOptions& options) {
  api::set_up_threads(options.threads, options.threads_decode);
  return bench::run(options);
}

KernelBenchSummary bench_kernels(const KernelBenchOptions& options) { return bench::run_kernels(options); }

}  // namespace awq
