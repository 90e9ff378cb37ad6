#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "eval/compare.h"
#include "model/model_files.h"
#include "ops/linear.h"
#include "text/tokenizer.h"

namespace awq::eval {

/// One question: how likely does the model find each continuation of the context?
struct ChoiceItem {
  std::string context;
  std::vector<std::string> choices;  ///< without the blank between context and choice
  std::string delimiter = " ";       ///< that blank
  std::size_t gold = 0;
};

/// A task of lm-eval-harness, read from a .jsonl file. Prompts are lm-eval's (docs/evaluation.md).
struct ChoiceTask {
  std::string name;
  bool is_cloze = false;  ///< one continuation, right when every token of it is the most likely (lambada)
  bool has_norm = true;   ///< lm-eval gives acc_norm as well
  std::vector<ChoiceItem> items;
};

/// Names of all tasks.
std::vector<std::string> choice_task_names();

/// Reads NAME.jsonl (or another usual name of it) of `folder`: fields as in the data sets that lm-eval loads, or
/// `query`, `choices`, `gold` (lambada: `context`, `continuation`). `limit` > 0 keeps the first items only.
/// Throws kInvalidArgument for an unknown name, kNotFound, kCorruptFile naming the line and the field.
ChoiceTask read_choice_task(const std::string& name, const std::filesystem::path& folder, std::int64_t limit);

/// What the model says of one continuation.
struct Likelihood {
  double log_probability = 0;  ///< natural log, summed over its tokens
  bool is_greedy = true;       ///< each of its tokens is the most likely one
};

struct TaskScore {
  std::string name;
  std::int64_t items = 0;
  double accuracy = 0, accuracy_stderr = 0;
  bool has_norm = false;
  double accuracy_norm = 0, accuracy_norm_stderr = 0;  ///< by log probability per character of the choice
  double perplexity = 0;                               ///< cloze tasks: exp of the mean NLL of a continuation
  std::vector<std::vector<Likelihood>> likelihoods;    ///< [item][choice]
};

struct TaskOptions {
  std::int64_t context = 2048;  ///< longer requests lose their beginning
  ops::Precision precision = ops::Precision::kF32;
  std::uint64_t hidden_bytes = 1ULL << 30;
  std::function<void(std::int64_t done, std::int64_t total)> on_progress;
};

/// The same with a model that is resident: one request after the other.
TaskScore run_choice_task(const ChoiceTask& task, ResidentModel& model, const text::Tokenizer& tokenizer,
                          const TaskOptions& options);

/// Answers all items, holding one decoder layer at a time.
TaskScore run_choice_task(const ChoiceTask& task, const model::WeightSource& model, const text::Tokenizer& tokenizer,
                          const TaskOptions& options);

}  // namespace awq::eval
