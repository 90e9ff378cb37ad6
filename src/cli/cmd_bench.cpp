#include <fmt/format.h>

#include <memory>

#include "awq/bench.h"
#include "awq/error.h"
#include "cli/commands.h"
#include "cli/kernel_bench.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

/// Above this the numbers say more about the other program.
constexpr double kTolerableForeignShare = 0.05;

file::OrderedJson points_json(const std::vector<BenchPoint>& points) {
  file::OrderedJson out = file::OrderedJson::array();
  for (const BenchPoint& p : points) {
    out.push_back({{"rows", p.rows},
                   {"tokens_per_s", p.tokens_per_s},
                   {"bytes_per_s", p.bytes_per_s},
                   {"bandwidth_fraction", p.bandwidth_fraction},
                   {"flops", p.flops},
                   {"peak_fraction", p.peak_fraction}});
  }
  return out;
}

file::OrderedJson against_json(const BenchAgainst& against) {
  file::OrderedJson out;
  out["command"] = against.command;
  out["name"] = against.name;
  out["turns"] = against.turns;
  for (const BenchComparison& c : against.tests) {
    out["tests"].push_back({{"test", c.test},
                            {"tokens", c.tokens},
                            {"depth", c.depth},
                            {"tokens_per_s", c.tokens_per_s},
                            {"peer_tokens_per_s", c.peer_tokens_per_s},
                            {"ratio", c.ratio}});
  }
  return out;
}

file::OrderedJson to_json(const BenchSummary& s, const BenchOptions& options) {
  file::OrderedJson out;
  out["architecture"] = s.architecture;
  out["layers"] = s.layers;
  out["weights"] = s.weights;
  out["activations"] = s.activations;
  out["head"] = s.head;
  out["kv_dtype"] = s.kv_dtype;
  out["instruction_set"] = s.instruction_set;
  out["threads"] = s.threads;
  out["threads_decode"] = s.threads_decode;
  if (!s.device.empty()) out["device"] = s.device;
  out["prompt"] = options.prompt;
  out["gen"] = options.gen;
  out["depth"] = options.depth;
  out["prefill_tokens_per_s"] = s.prefill_tokens_per_s;
  out["decode_tokens_per_s"] = s.decode_tokens_per_s;
  out["decode_bytes_per_token"] = s.decode_bytes_per_token;
  out["read_bandwidth_bytes_per_s"] = s.read_bandwidth_bytes_per_s;
  out["decode_bandwidth_fraction"] = s.decode_bandwidth_fraction;
  out["decode_page_faults_per_token"] = s.decode_page_faults_per_token;
  out["matmul_peak_flops"] = s.matmul_peak_flops;
  out["matmul_peak_arithmetic"] = s.matmul_peak_arithmetic;
  out["prefill_peak_fraction"] = s.prefill_peak_fraction;
  out["prefill_page_faults_per_token"] = s.prefill_page_faults_per_token;
  out["best_read_bandwidth_bytes_per_s"] = s.best_read_bandwidth_bytes_per_s;
  out["best_read_streams"] = s.best_read_streams;
  out["best_read_prefetch_bytes"] = s.best_read_prefetch_bytes;
  for (const BenchPeak& p : s.peaks) {
    out["peaks"].push_back(
        {{"kernel", p.kernel}, {"arithmetic", p.arithmetic}, {"operations_per_s", p.operations_per_s}});
  }
  out["batch"] = points_json(s.batch);
  out["linears"] = points_json(s.linears);
  if (!s.linears_bf16.empty()) out["linears_bf16"] = points_json(s.linears_bf16);
  for (const BenchKernel& k : s.kernels) {
    out["kernels"].push_back(
        {{"rows", k.rows}, {"out_features", k.out_features}, {"in_features", k.in_features}, {"kernel", k.kernel}});
  }
  if (s.against.turns > 0) out["against"] = against_json(s.against);
  out["load_seconds"] = s.load_seconds;
  out["peak_rss_bytes"] = s.peak_rss_bytes;
  out["foreign_cpu_share"] = s.foreign_cpu_share;
  return out;
}

void print_points(const char* title, const char* limit, const std::vector<BenchPoint>& points) {
  if (points.empty()) return;
  fmt::print("{:<16} {:>10} {:>9} {:>12} {:>11} {:>10}\n", title, "tokens/s", "GB/s", limit, "GFLOP/s", "of peak");
  for (const BenchPoint& p : points) {
    fmt::print("{:>16} {:>10.1f} {:>9.2f} {:>11.1f}% {:>11.1f} {:>9.1f}%\n", p.rows, p.tokens_per_s,
               p.bytes_per_s / 1e9, 100 * p.bandwidth_fraction, p.flops / 1e9, 100 * p.peak_fraction);
  }
}

/// Of a device there is less to tell.
void print_device_table(const BenchSummary& s, const BenchOptions& options) {
  fmt::print("{}, {} layers, {}; {}\n", s.architecture, s.layers, s.weights, s.device);
  fmt::print("loaded in {:.2f} s\n", s.load_seconds);
  fmt::print("copy             {:>10.1f} GB/s read and written\n", s.read_bandwidth_bytes_per_s / 1e9);
  for (const BenchPeak& p : s.peaks)
    fmt::print("peak {:<12}{:>10.1f} T/s ({})\n", p.arithmetic, p.operations_per_s / 1e12, p.kernel);
  fmt::print("prefill {:<9}{:>10.1f} tokens/s, {:.1f}% of the {} peak\n", options.prompt, s.prefill_tokens_per_s,
             100 * s.prefill_peak_fraction, s.matmul_peak_arithmetic);
  fmt::print("decode {:<10}{:>10.2f} tokens/s, {} per token, {:.1f}% of the copy\n", options.gen, s.decode_tokens_per_s,
             size_text(s.decode_bytes_per_token), 100 * s.decode_bandwidth_fraction);
  print_points("decode, batch", "of copy", s.batch);
}

void print_against(const BenchAgainst& a) {
  if (a.turns == 0) return;
  fmt::print("against {}: {}, {} in turn\n", a.command, a.name.empty() ? "no name" : a.name,
             a.turns == 1 ? "one run" : fmt::format("medians of {} runs", a.turns));
  fmt::print("{:<24} {:>12} {:>12} {:>7}\n", "", "tokens/s", "theirs", "ratio");
  for (const BenchComparison& c : a.tests) {
    const std::string depth = c.depth > 0 ? fmt::format(" at {}", c.depth) : std::string();
    fmt::print("{:<24} {:>12.1f} {:>12.1f} {:>7.2f}\n", fmt::format("{} {}{}", c.test, c.tokens, depth), c.tokens_per_s,
               c.peer_tokens_per_s, c.ratio);
  }
}

void print_table(const BenchSummary& s, const BenchOptions& options) {
  fmt::print("{}, {} layers, {}; activations {}, head {}, cache {}; {} threads, {}\n", s.architecture, s.layers,
             s.weights, s.activations, s.head, s.kv_dtype, s.threads, s.instruction_set);
  if (s.threads_decode != s.threads) fmt::print("decode with {} threads\n", s.threads_decode);
  fmt::print("loaded in {:.2f} s, {} resident at the peak\n", s.load_seconds, size_text(s.peak_rss_bytes));
  fmt::print("read             {:>10.2f} GB/s plain, {:.2f} GB/s with {} streams and prefetch of {} bytes\n",
             s.read_bandwidth_bytes_per_s / 1e9, s.best_read_bandwidth_bytes_per_s / 1e9, s.best_read_streams,
             s.best_read_prefetch_bytes);
  for (const BenchPeak& p : s.peaks)
    fmt::print("peak {:<12}{:>10.1f} G/s ({})\n", p.arithmetic, p.operations_per_s / 1e9, p.kernel);
  fmt::print("prefill {:<9}{:>10.1f} tokens/s, {:.1f}% of the {} peak, {:.2f} page faults per token\n", options.prompt,
             s.prefill_tokens_per_s, 100 * s.prefill_peak_fraction, s.matmul_peak_arithmetic,
             s.prefill_page_faults_per_token);
  fmt::print("decode {:<10}{:>10.2f} tokens/s, {} per token, {:.1f}% of the plain read loop, {:.1f} page faults\n",
             options.gen, s.decode_tokens_per_s, size_text(s.decode_bytes_per_token), 100 * s.decode_bandwidth_fraction,
             s.decode_page_faults_per_token);
  print_against(s.against);
  print_points("decode, batch", "of read loop", s.batch);
  print_points("linears, rows", "of read loop", s.linears);
  print_points("linears, bf16", "of read loop", s.linears_bf16);
  for (const BenchKernel& k : s.kernels)
    fmt::print("kernel for {:>5} x {:>6} x {:>6}: {}\n", k.rows, k.out_features, k.in_features, k.kernel);
}

int run(BenchOptions& options, const CommonFlags& common) {
  options.threads = common.threads;
  options.device = common.device;
  options.on_stage = [](const std::string& text) { print_note(text); };
  const BenchSummary s = bench_model(options);
  if (common.json) {
    print_json(to_json(s, options));
  } else if (!s.device.empty()) {
    print_device_table(s, options);
  } else {
    print_table(s, options);
  }
  if (s.foreign_cpu_share > kTolerableForeignShare) {
    print_warning(fmt::format("other programs used {:.0f}% of the processors meanwhile: these numbers are too low",
                              100 * s.foreign_cpu_share));
  }
  return 0;
}

/// What the flags fill.
struct Flags {
  BenchOptions model;
  KernelBenchOptions kernels;
  bool only_kernels = false;
  CLI::Option *config = nullptr, *batch = nullptr, *group_size = nullptr;
};

int run_flags(Flags& flags, const CommonFlags& common) {
  if (!flags.only_kernels) {
    if (*flags.group_size && !*flags.config) {
      throw Error(ErrorCode::kInvalidArgument, "--group-size: of --config or --kernels");
    }
    return run(flags.model, common);
  }
  if (!flags.model.model.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "--kernels: takes no model, the shapes are those of --shapes");
  }
  KernelBenchOptions& kernels = flags.kernels;
  kernels.device = common.device;
  kernels.group_size = flags.model.group_size;
  if (*flags.batch) kernels.rows = flags.model.batches;
  return run_kernel_bench(kernels, common);
}

}  // namespace

std::function<int()> add_bench(CLI::App& app, CommonFlags& common) {
  auto flags = std::make_shared<Flags>();
  BenchOptions& o = flags->model;
  CLI::Option* model = app.add_option("model", o.model, "Model folder");
  CLI::Option* config = flags->config =
      app.add_option("--config", o.config, "Random weights of this config.json instead of a model")->excludes(model);
  app.add_option("--bits", o.bits, "Of random weights: 2 to 8, or 16")->needs(config)->capture_default_str();
  flags->group_size =
      app.add_option("--group-size", o.group_size, "Of random weights, -1 for whole rows")->capture_default_str();
  add_threads_decode_flag(app, o.threads_decode);
  app.add_option("--activations", o.activations,
                 "Inputs of linears: int8 (bf16 for BF16 weights and in attention), int15 (those as they are) or f32")
      ->capture_default_str();
  app.add_option("--head", o.head, "Output matrix: as stored, or rounded to int8 at load")->capture_default_str();
  add_kv_dtype_flag(app, o.kv_dtype);
  add_dtype_flag(app, o.dtype);
  add_cuda_linear_flag(app, o.cuda_linear);
  app.add_option("--layers", o.layers, "Run the first layers only (0: all)")->capture_default_str();
  app.add_option("--prompt", o.prompt, "Tokens of the prefill")->capture_default_str();
  app.add_option("--gen", o.gen, "Tokens of the decode")->capture_default_str();
  app.add_option("--depth", o.depth, "Tokens before the first decoded one")->capture_default_str();
  flags->batch = app.add_option("--batch", o.batches, "Sequences decoded together; with --kernels tokens of a product")
                     ->delimiter(',')
                     ->allow_extra_args(false)
                     ->capture_default_str();
  app.add_option("--repetitions", o.repetitions, "Of every timing; the median counts")->capture_default_str();
  app.add_option("--read-bytes", o.read_bytes, "Buffer of the bandwidth loop (0: 1 GiB or 4 times the last cache)")
      ->capture_default_str()
      ->check(refuse_sign, "");
  CLI::Option* against = app.add_option("--against", o.against,
                                        "Another benchmark, run in turn with this one: a command that prints what "
                                        "llama-bench -o json or awq bench --json prints; {prompt}, {gen}, {depth} and "
                                        "{threads} in it become numbers");
  app.add_option("--against-seconds", o.against_seconds, "That one run of it may take")
      ->needs(against)
      ->capture_default_str();
  CLI::Option* kernels =
      app.add_flag("--kernels", flags->only_kernels,
                   "Check and time the 4-bit kernels of an NVIDIA device on the shapes of known models")
          ->excludes(config)
          ->excludes(against);
  KernelBenchOptions& k = flags->kernels;
  app.add_option("--shapes", k.shapes, "Of --kernels: 8b (Llama-3), 70b (Llama-3), 7b (Qwen2.5)")
      ->needs(kernels)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str();
  app.add_option("--type", k.type, "Activations of --kernels: f16 or bf16")->needs(kernels)->capture_default_str();
  app.add_flag("--all", k.all, "Every kernel that can run, not only the chosen one")->needs(kernels);
  return [flags, &common] { return run_flags(*flags, common); };
}

}  // namespace awq::cli
