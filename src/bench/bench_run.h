#pragma once

#include "awq/bench.h"

namespace awq::bench {

/// Everything of `awq bench`, on the threads that are set up. Throws awq::Error.
BenchSummary run(const BenchOptions& options);

}  // namespace awq::bench
