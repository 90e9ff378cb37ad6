#include <fmt/format.h>

#include <memory>

#include "awq/comparer.h"
#include "awq/quantizer.h"
#include "base/check.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "file/output_file.h"

namespace awq::cli {
namespace {

struct Flags {
  QuantizeOptions options;
  bool no_clip = false;
  bool no_eval = false;
  double max_shard_gb = 5;
  std::filesystem::path report;
};

file::OrderedJson to_json(const QuantizeSummary& s) {
  file::OrderedJson out;
  out["method"] = s.method;
  out["bits"] = s.bits;
  out["group_size"] = s.group_size;
  out["format"] = s.format;
  out["layers"] = s.layers;
  out["quantized_linears"] = s.quantized_linears;
  out["wide_linears"] = s.wide_linears;
  out["unquantized_linears"] = s.unquantized_linears;
  out["seconds"] = s.seconds;
  out["planned_peak_bytes"] = s.planned_peak_bytes;
  out["planned_disk_bytes"] = s.planned_disk_bytes;
  if (s.planned_device_bytes != 0) out["planned_device_bytes"] = s.planned_device_bytes;
  out["peak_rss_bytes"] = s.peak_rss_bytes;
  if (s.peak_device_bytes != 0) out["peak_device_bytes"] = s.peak_device_bytes;
  out["input_bytes"] = s.input_bytes;
  out["output_bytes"] = s.output_bytes;
  out["bits_per_weight"] = s.bits_per_weight;
  out["linear_bits_per_weight"] = s.linear_bits_per_weight;
  out["dry_run"] = s.dry_run;
  out["already_complete"] = s.already_complete;
  if (s.evaluated) {
    out["eval_tokens"] = s.eval_tokens;
    out["perplexity"] = s.perplexity;
    out["base_perplexity"] = s.base_perplexity;
    out["kl_mean"] = s.kl_mean;
  }
  return out;
}

void print_summary(const QuantizeSummary& s, const QuantizeOptions& options) {
  if (s.already_complete) {
    fmt::print("{} is complete already\n", options.output.string());
    return;
  }
  if (s.dry_run) return;
  fmt::print("{}: {} -> {}, {:.3f} bits per weight ({:.3f} in the quantized linears)\n", options.output.string(),
             size_text(s.input_bytes), size_text(s.output_bytes), s.bits_per_weight, s.linear_bits_per_weight);
  if (s.evaluated) {
    fmt::print("perplexity {:.4f} -> {:.4f}, KL {:.6f} nats per token (held-out text, {} tokens)\n", s.base_perplexity,
               s.perplexity, s.kl_mean, s.eval_tokens);
  }
  fmt::print("{:.1f} s, {} of memory at the peak", s.seconds, size_text(s.peak_rss_bytes));
  if (s.peak_device_bytes != 0) fmt::print(", {} of the device's", size_text(s.peak_device_bytes));
  fmt::print("\n");
}

int run(Flags& flags, const CommonFlags& common) {
  QuantizeOptions& options = flags.options;
  options.search_ranges = !flags.no_clip;
  options.evaluate = !flags.no_eval;
  options.threads = common.threads;
  options.device = common.device;
  if (!(flags.max_shard_gb >= 1e-6 && flags.max_shard_gb <= 1e6)) {
    fail(ErrorCode::kInvalidArgument, "--max-shard-size {}: expected 0.000001 to 1000000 (GB)", flags.max_shard_gb);
  }
  options.max_shard_bytes = static_cast<std::uint64_t>(flags.max_shard_gb * 1e9);
  ProgressPrinter progress;
  options.on_progress = [&](const Progress& p) { progress.show(p); };
  options.on_warning = [&](const std::string& text) {
    progress.clear();
    print_warning(text);
  };
  options.on_plan = [](const std::string& line) { print_note(line); };
  check_report_path(flags.report);
  const QuantizeSummary summary = quantize_model(options);
  progress.clear();
  if (!flags.report.empty() && !summary.dry_run) {
    file::write_file_atomically(flags.report, quantization_html(options.output));
  }
  if (common.json) {
    print_json(to_json(summary));
  } else {
    print_summary(summary, options);
  }
  return 0;
}

}  // namespace

std::function<int()> add_quantize(CLI::App& app, CommonFlags& common) {
  auto flags = std::make_shared<Flags>();
  QuantizeOptions& o = flags->options;
  app.add_option("model", o.model, "Model folder to read")->required();
  app.add_option("-o,--output", o.output, "Folder to make")->required();
  app.add_option("--method", o.method, "awq, gptq, rtn for plain rounding, or fp8")->capture_default_str();
  app.add_option("--recipe", o.recipe, "How awq searches: best; fast: scales and ranges only; paper: as AutoAWQ does")
      ->capture_default_str();
  app.add_option("--bits", o.bits, "Bits per weight: 4 (2, 3, 8 with compressed-tensors)")->capture_default_str();
  app.add_option("--embed-bits", o.embed_bits, "Embedding: 16 as it is, or 8 (compressed-tensors)")
      ->capture_default_str();
  app.add_option("--head-bits", o.head_bits, "Output matrix: 16 as it is, or 8 (compressed-tensors)")
      ->capture_default_str();
  app.add_option(
         "--target-bpw", o.target_bpw,
         "Give the linears that lose most 8 bits, as many as fit into this many bits per parameter of the whole "
         "model: size of the weight files, embedding and head included (compressed-tensors)")
      ->check(CLI::PositiveNumber, "");
  app.add_option("--group-size", o.group_size, "Inputs that share a scale: 128, 64, 32, or -1 for a whole row")
      ->capture_default_str();
  app.add_flag("--symmetric", o.symmetric, "Fixed zero point");
  app.add_option("--format", o.format,
                 "awq (default) or compressed-tensors; with fp8 compressed-tensors (default) or fp8 (blocks of 128)");
  app.add_option("--calib", o.calibration, "Calibration text, .txt or .jsonl (default: the built-in text)");
  app.add_option("--calib-samples", o.calibration_samples, "Blocks of calibration tokens")->capture_default_str();
  app.add_option("--calib-seqlen", o.calibration_seqlen, "Tokens per block")->capture_default_str();
  app.add_option("--skip", o.skip, "Shell pattern of linears that stay in 16 bit; may be given again")
      ->allow_extra_args(false);
  app.add_flag("--no-clip", flags->no_clip, "Keep the full range of every group");
  app.add_option("--seed", o.seed, "Chooses calibration blocks when there are more than asked for")
      ->capture_default_str()
      ->check(refuse_sign, "");
  app.add_flag("--dry-run", o.dry_run, "Print what the run would need and stop");
  CLI::Option* resume = app.add_flag("--resume", o.resume, "Go on with an interrupted run");
  app.add_flag("--allow-device-change", o.allow_device_change,
               "Let --resume go on where another device, or other threads or instructions, began")
      ->needs(resume);
  app.add_flag("--force", o.force, "Replace an earlier output (never a folder that awq did not make)");
  app.add_flag("--no-eval", flags->no_eval, "Do not measure the loss on a held-out tenth of the text");
  app.add_option("--max-shard-size", flags->max_shard_gb, "Largest weight file in GB")->capture_default_str();
  app.add_option("--report", flags->report, "Write an HTML page about the result");
  return [flags, &common] { return run(*flags, common); };
}

}  // namespace awq::cli
