#include <fmt/format.h>

#include <memory>

#include "awq/evaluator.h"
#include "cli/commands.h"
#include "cli/terminal.h"

namespace awq::cli {
namespace {

int print_tasks(const EvaluateSummary& s, const CommonFlags& common) {
  file::OrderedJson tasks = file::OrderedJson::object();
  if (!common.json) fmt::print("{:<12} {:>6} {:>18} {:>18} {:>12}\n", "task", "items", "acc", "acc_norm", "perplexity");
  for (const TaskSummary& t : s.tasks) {
    const auto with_error = [](double value, double error) { return fmt::format("{:.4f} +- {:.4f}", value, error); };
    if (!common.json) {
      fmt::print("{:<12} {:>6} {:>18} {:>18} {:>12}\n", t.name, t.items, with_error(t.accuracy, t.accuracy_stderr),
                 t.has_norm ? with_error(t.accuracy_norm, t.accuracy_norm_stderr) : "-",
                 t.perplexity > 0 ? fmt::format("{:.3f}", t.perplexity) : "-");
      continue;
    }
    file::OrderedJson& row = tasks[t.name];
    row["items"] = t.items;
    row["acc"] = t.accuracy;
    row["acc_stderr"] = t.accuracy_stderr;
    if (t.has_norm) {
      row["acc_norm"] = t.accuracy_norm;
      row["acc_norm_stderr"] = t.accuracy_norm_stderr;
    }
    if (t.perplexity > 0) row["perplexity"] = t.perplexity;
  }
  if (common.json) {
    file::OrderedJson out;
    out["tasks"] = tasks;
    out["seconds"] = s.seconds;
    out["peak_rss_bytes"] = s.peak_rss_bytes;
    print_json(out);
  }
  return 0;
}

int run(EvaluateOptions& options, const CommonFlags& common) {
  options.threads = common.threads;
  options.device = common.device;
  ProgressPrinter progress;
  options.on_progress = [&](const Progress& p) { progress.show(p); };
  options.on_warning = [](const std::string& text) { print_warning(text); };
  const EvaluateSummary s = evaluate_model(options);
  progress.clear();
  if (!s.tasks.empty()) return print_tasks(s, common);
  if (!common.json) {
    fmt::print("perplexity {:.5f} over {} tokens in {} windows\n", s.perplexity, s.tokens, s.windows);
    if (s.compared) {
      fmt::print("base       {:.5f}\n", s.base_perplexity);
      fmt::print("KL         {:.6f} nats per token, 99th percentile {:.6f}\n", s.kl_mean, s.kl_p99);
      fmt::print("top-1      {:.2f} % the same\n", 100 * s.top1_agreement);
      fmt::print("NLL        {:+.6f} +- {:.6f}\n", s.delta_nll_mean, s.delta_nll_stderr);
    }
    return 0;
  }
  file::OrderedJson out;
  out["tokens"] = s.tokens;
  out["windows"] = s.windows;
  out["perplexity"] = s.perplexity;
  out["nll"] = s.nll;
  if (s.compared) {
    out["base_perplexity"] = s.base_perplexity;
    out["kl_mean"] = s.kl_mean;
    out["kl_p99"] = s.kl_p99;
    out["top1_agreement"] = s.top1_agreement;
    out["delta_nll_mean"] = s.delta_nll_mean;
    out["delta_nll_stderr"] = s.delta_nll_stderr;
  }
  out["seconds"] = s.seconds;
  out["peak_rss_bytes"] = s.peak_rss_bytes;
  print_json(out);
  return 0;
}

}  // namespace

std::function<int()> add_eval(CLI::App& app, CommonFlags& common) {
  auto options = std::make_shared<EvaluateOptions>();
  EvaluateOptions& o = *options;
  app.add_option("model", o.model, "Model folder")->required();
  CLI::Option* against = app.add_option("--against", o.against, "Base model for the KL divergence");
  CLI::Option* text = app.add_option(
      "--text", o.text, "Text to score, .txt or .jsonl (default: the held-out tenth of the built-in text)");
  app.add_option("--activations", o.activations,
                 "Inputs of linears: f32, int8 (bf16 for BF16 weights and in attention) or int15 (those as they are)")
      ->capture_default_str();
  add_kv_dtype_flag(app, o.kv_dtype);
  add_dtype_flag(app, o.dtype);
  app.add_option("--ctx", o.context, "Tokens per window, at most the model's context")->capture_default_str();
  app.add_option("--max-tokens", o.max_tokens,
                 "Score whole windows of the text until they have this many tokens (0: all)")
      ->capture_default_str();
  CLI::Option* bits = app.add_option("--simulate-bits", o.simulate_bits,
                                     "Quantize in memory with so many bits first, and compare with the original");
  app.add_option("--simulate-method", o.simulate_method,
                 "awq, gptq or rtn with --simulate-bits; fp8, gguf-q4_0, gguf-q4_1, gguf-q4_k_m, gguf-q8_0 without")
      ->capture_default_str();
  app.add_option("--simulate-recipe", o.simulate_recipe, "best, fast or paper, for awq")
      ->needs(bits)
      ->capture_default_str();
  app.add_option("--simulate-calib", o.simulate_calibration, "Calibration text (default: the built-in text)")
      ->needs(bits);
  app.add_option("--group-size", o.simulate_group_size, "Group size for --simulate-bits")
      ->needs(bits)
      ->capture_default_str();
  o.task_folder = ".";
  CLI::Option* tasks =
      app.add_option("--tasks", o.tasks, "Answer questions instead: some of lambada,piqa,arc_easy,hellaswag,copa")
          ->delimiter(',')
          ->allow_extra_args(false)
          ->excludes(text)
          ->excludes(against);
  app.add_option("--task-dir", o.task_folder, "Folder with TASK.jsonl")->needs(tasks)->capture_default_str();
  app.add_option("--limit", o.task_limit, "Questions of each task (0: all)")->needs(tasks)->capture_default_str();
  return [options, &common] { return run(*options, common); };
}

}  // namespace awq::cli
