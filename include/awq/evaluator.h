#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "awq/quantizer.h"

namespace awq {

struct EvaluateOptions {
  std::filesystem::path model;
  std::filesystem::path against;        ///< base model, or empty
  std::filesystem::path text;           ///< .txt or .jsonl; empty: the held-out tenth of the default calibration text
  std::int64_t context = 2048;          ///< tokens per window, at most the model's context
  std::int64_t max_tokens = 0;          ///< of the text, 0: all
  int simulate_bits = 0;                ///< quantize `model` in memory first with these bits, 0: as it is
  std::string simulate_method = "awq";  ///< "fp8" and "gguf-..." have bits of their own and need no simulate_bits
  std::string simulate_recipe = "best";
  std::filesystem::path simulate_calibration;  ///< empty: the text that comes with the program
  std::int64_t simulate_group_size = 128;
  std::vector<std::string> tasks;     ///< "lambada", "piqa", "arc_easy", "hellaswag", "copa"; then `text` is not scored
  std::filesystem::path task_folder;  ///< holds TASK.jsonl
  std::int64_t task_limit = 0;        ///< questions of each task, 0: all
  int threads = 0;
  std::string device = "cpu";     ///< "cpu", "cuda", "cuda:N" or "auto"; on a device the whole model is resident
  std::string kv_dtype = "auto";  ///< of the cache, as in GenerateOptions; without a device there is none, only "f32"
  std::string dtype = "auto";     ///< of activations on a device: the model's ("auto"), "f16" or "bf16"
  /// Inputs of quantized linears: "f32" measures the checkpoint alone, "int8" and "int15" what `run` computes with
  /// them.
  std::string activations = "f32";
  ProgressCallback on_progress;
  WarningCallback on_warning;
};

/// Answers to one set of questions, as lm-eval-harness counts them.
struct TaskSummary {
  std::string name;
  std::int64_t items = 0;
  double accuracy = 0;
  double accuracy_stderr = 0;
  bool has_norm = false;
  double accuracy_norm = 0;  ///< by likelihood per character of the choice
  double accuracy_norm_stderr = 0;
  double perplexity = 0;  ///< of the missing words (lambada), else 0
};

struct EvaluateSummary {
  std::int64_t tokens = 0;  ///< predicted tokens
  std::int64_t windows = 0;
  double nll = 0;  ///< mean, in nats
  double perplexity = 0;
  bool compared = false;
  double base_perplexity = 0;
  double kl_mean = 0;  ///< KL(base || model) per predicted token, in nats
  double kl_p99 = 0;
  double top1_agreement = 0;
  double delta_nll_mean = 0;    ///< model - base
  double delta_nll_stderr = 0;  ///< over windows or documents
  std::vector<TaskSummary> tasks;
  double seconds = 0;
  std::uint64_t peak_rss_bytes = 0;
};

/// Perplexity, and the distance to a base model, by the protocols of docs/evaluation.md. Throws awq::Error.
EvaluateSummary evaluate_model(const EvaluateOptions& options);

}  // namespace awq
