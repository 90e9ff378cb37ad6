#include <fmt/format.h>

#include <memory>

#include "awq/comparer.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "file/output_file.h"

namespace awq::cli {
namespace {

struct Flags {
  ComparisonOptions options;
  std::filesystem::path report;
  bool no_speed = false;
};

file::OrderedJson to_json(const ComparedMethod& m) {
  file::OrderedJson out;
  out["name"] = m.name;
  if (!m.skipped.empty()) {
    out["skipped"] = m.skipped;
    return out;
  }
  out["file_bytes"] = m.file_bytes;
  out["bits_per_weight"] = m.bits_per_weight;
  out["perplexity"] = m.perplexity;
  out["kl_mean"] = m.kl_mean;
  out["kl_stderr"] = m.kl_stderr;
  out["kl_p99"] = m.kl_p99;
  out["top1_agreement"] = m.top1_agreement;
  out["delta_nll_mean"] = m.delta_nll_mean;
  out["delta_nll_stderr"] = m.delta_nll_stderr;
  out["quantize_seconds"] = m.quantize_seconds;
  out["peak_rss_bytes"] = m.peak_rss_bytes;
  if (m.decode_tokens_per_s > 0) {
    out["prefill_tokens_per_s"] = m.prefill_tokens_per_s;
    out["decode_tokens_per_s"] = m.decode_tokens_per_s;
  }
  file::OrderedJson layers = file::OrderedJson::array();
  for (const ComparedLayer& layer : m.layers) {
    layers.push_back({{"attention", layer.attention}, {"mlp", layer.mlp}, {"accumulated", layer.accumulated}});
  }
  out["layers"] = layers;
  return out;
}

file::OrderedJson to_json(const Comparison& c) {
  file::OrderedJson out;
  out["model"] = c.model_name;
  out["parameters"] = c.parameters;
  out["text"] = c.text_name;
  out["calibration"] = c.calibration_name;
  out["tokens"] = c.tokens;
  out["windows"] = c.windows;
  file::OrderedJson base;
  base["file_bytes"] = c.base.file_bytes;
  base["bits_per_weight"] = c.base.bits_per_weight;
  base["perplexity"] = c.base.perplexity;
  if (c.base.decode_tokens_per_s > 0) {
    base["prefill_tokens_per_s"] = c.base.prefill_tokens_per_s;
    base["decode_tokens_per_s"] = c.base.decode_tokens_per_s;
  }
  out["base"] = base;
  file::OrderedJson methods = file::OrderedJson::array();
  for (const ComparedMethod& m : c.methods) methods.push_back(to_json(m));
  out["methods"] = methods;
  out["seconds"] = c.seconds;
  return out;
}

std::string speed(double tokens_per_s) { return tokens_per_s > 0 ? fmt::format("{:.0f}", tokens_per_s) : "-"; }

void print_row(const ComparedMethod& m, bool is_base) {
  if (!m.skipped.empty()) {
    fmt::print("{:<12} {}\n", m.name, m.skipped);
    return;
  }
  fmt::print("{:<12} {:>9} {:>6.2f} {:>10.4f} ", m.name, size_text(m.file_bytes), m.bits_per_weight, m.perplexity);
  if (is_base) {
    fmt::print("{:>20} {:>9} {:>7} {:>21} {:>7} {:>9} ", "0", "0", "100", "0", "-", "-");
  } else {
    fmt::print("{:>20} {:>9.5f} {:>7.2f} {:>21} {:>7.1f} {:>9} ", fmt::format("{:.6f}+-{:.6f}", m.kl_mean, m.kl_stderr),
               m.kl_p99, 100 * m.top1_agreement, fmt::format("{:+.6f}+-{:.6f}", m.delta_nll_mean, m.delta_nll_stderr),
               m.quantize_seconds, m.peak_rss_bytes > 0 ? size_text(m.peak_rss_bytes) : "-");
  }
  fmt::print("{:>8} {:>8}\n", speed(m.prefill_tokens_per_s), speed(m.decode_tokens_per_s));
}

void print_table(const Comparison& c) {
  fmt::print("{}: {} tokens of {}, calibrated on {}\n\n", c.model_name, c.tokens, c.text_name, c.calibration_name);
  fmt::print("{:<12} {:>9} {:>6} {:>10} {:>20} {:>9} {:>7} {:>21} {:>7} {:>9} {:>8} {:>8}\n", "method", "weights",
             "bits", "perplexity", "KL, nats per token", "KL p99", "top-1 %", "NLL - original", "time s", "memory",
             "prefill", "decode");
  print_row(c.base, true);
  for (const ComparedMethod& m : c.methods) print_row(m, false);
  fmt::print("\n{:.1f} s; speeds in tokens per second\n", c.seconds);
}

int run(Flags& flags, const CommonFlags& common) {
  flags.options.threads = common.threads;
  flags.options.measure_speed = !flags.no_speed;
  ProgressPrinter progress;
  flags.options.on_progress = [&](const Progress& p) { progress.show(p); };
  flags.options.on_warning = [&](const std::string& text) {
    progress.clear();
    print_warning(text);
  };
  check_report_path(flags.report);
  const Comparison comparison = compare_methods(flags.options);
  progress.clear();
  if (!flags.report.empty()) file::write_file_atomically(flags.report, comparison_html(comparison));
  if (common.json) {
    print_json(to_json(comparison));
  } else {
    print_table(comparison);
  }
  return 0;
}

}  // namespace

std::function<int()> add_compare(CLI::App& app, CommonFlags& common) {
  auto flags = std::make_shared<Flags>();
  ComparisonOptions& o = flags->options;
  std::string names;
  for (const ComparisonMethod& m : comparison_methods()) names += (names.empty() ? "" : ",") + m.name;
  app.add_option("model", o.model, "Model folder, not quantized")->required();
  app.add_option("--methods", o.methods, "Some of " + names + " (default: all)")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_option("--text", o.text, "Text to measure the loss on, .txt or .jsonl; not the calibration text")->required();
  app.add_option("--calib", o.calibration, "Calibration text, .txt or .jsonl (default: the built-in text)");
  app.add_option("--bits", o.bits, "Bits per weight of the methods that leave a choice")->capture_default_str();
  app.add_option("--group-size", o.group_size, "Inputs that share a scale: 128, 64, 32, or -1 for a whole row")
      ->capture_default_str();
  app.add_option("--ctx", o.context, "Tokens per window, at most the model's context")->capture_default_str();
  app.add_option("--max-tokens", o.max_tokens,
                 "Score whole windows of the text until they have this many tokens (0: all)")
      ->capture_default_str();
  app.add_option("--work", o.work, "Folder for the quantized models while they are measured (default: the system's)");
  app.add_flag("--no-speed", flags->no_speed, "Do not measure prefill and decode speed");
  app.add_option("--report", flags->report, "Write an HTML page with the numbers and pictures");
  return [flags, &common] { return run(*flags, common); };
}

}  // namespace awq::cli
