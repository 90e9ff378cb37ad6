#include "awq/bench.h"

#include "api/setup.h"
#include "bench/bench_run.h"

namespace awq {

BenchSummary bench_model(const BenchOptions& options) {
  api::set_up_threads(options.threads);
  return bench::run(options);
}

}  // namespace awq
