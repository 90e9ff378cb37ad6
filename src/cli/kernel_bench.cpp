#include "cli/kernel_bench.h"

#include <fmt/format.h>

#include <cstdio>

#include "cli/terminal.h"

namespace awq::cli {
namespace {

file::OrderedJson to_json(const KernelBenchSummary& s, const KernelBenchOptions& options) {
  file::OrderedJson out;
  out["device"] = s.device;
  out["group_size"] = options.group_size;
  out["copy_bytes_per_s"] = s.copy_bytes_per_s;
  out["dense_flops"] = s.dense_flops;
  out["products"] = file::OrderedJson::array();
  for (const KernelTiming& t : s.timings) {
    out["products"].push_back({{"layer", t.layer},
                               {"out_features", t.out_features},
                               {"in_features", t.in_features},
                               {"rows", t.rows},
                               {"kernel", t.kernel},
                               {"chosen", t.chosen},
                               {"same_bits_as", t.same_bits_as},
                               {"error", t.error},
                               {"seconds", t.seconds},
                               {"bytes_per_s", t.bytes_per_s},
                               {"copy_fraction", t.copy_fraction},
                               {"flops", t.flops},
                               {"dense_fraction", t.dense_fraction},
                               {"dense_seconds", t.dense_seconds}});
  }
  return out;
}

void print_limits(const KernelBenchSummary& s, const KernelBenchOptions& options) {
  fmt::print("{}; 4 bit, group {}\n", s.device, options.group_size);
  fmt::print("copy {:.2f} TB/s read and written, dense product {:.1f} TFLOP/s (cublasLt)\n", s.copy_bytes_per_s / 1e12,
             s.dense_flops / 1e12);
  fmt::print("{:<12} {:>6} {:<18} {:>10} {:>6} {:>7} {:>8} {:>8} {:>10}\n", "layer", "tokens", "kernel", "us", "TB/s",
             "of copy", "TFLOP/s", "of dense", "x cublasLt");
}

void print_timing(const KernelTiming& t) {
  const std::string speedup =
      t.dense_seconds > 0 ? fmt::format("{:.2f}", t.dense_seconds / t.seconds) : std::string("-");
  fmt::print("{:<12} {:>6} {:<18} {:>10.2f} {:>6.2f} {:>6.1f}% {:>8.1f} {:>7.1f}% {:>10}\n", t.layer, t.rows, t.kernel,
             t.seconds * 1e6, t.bytes_per_s / 1e12, 100 * t.copy_fraction, t.flops / 1e12, 100 * t.dense_fraction,
             speedup);
  std::fflush(stdout);
}

}  // namespace

int run_kernel_bench(KernelBenchOptions& options, const CommonFlags& common) {
  options.on_stage = [](const std::string& text) { print_note(text); };
  if (!common.json) {
    options.on_limits = [&options](const KernelBenchSummary& s) { print_limits(s, options); };
    options.on_timing = print_timing;
  }
  const KernelBenchSummary summary = bench_kernels(options);
  if (common.json) print_json(to_json(summary, options));
  return 0;
}

}  // namespace awq::cli
