#include "awq/load.h"

#include "bench/load_run.h"

namespace awq {

LoadSummary bench_server(const LoadOptions& options) { return bench::load_server(options); }

}  // namespace awq
