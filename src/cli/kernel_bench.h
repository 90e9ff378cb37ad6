#pragma once

#include "awq/bench.h"
#include "cli/command.h"

namespace awq::cli {

/// `awq bench --kernels`: prints each product as it is timed, or all as JSON at the end.
int run_kernel_bench(KernelBenchOptions& options, const CommonFlags& common);

}  // namespace awq::cli
