#pragma once

#include "awq/bench.h"

namespace awq::bench {

/// The measurements of `awq bench --kernels`. Weights are rotated, so that none comes from a cache; activations stay in
/// the cache where they fit, as they do behind the kernel that makes them.
KernelBenchSummary run_kernels(const KernelBenchOptions& options);

}  // namespace awq::bench
