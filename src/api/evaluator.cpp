#include "awq/evaluator.h"

#include <cmath>
#include <memory>
#include <optional>

#include "api/resident_model.h"
#include "api/setup.h"
#include "base/check.h"
#include "base/resources.h"
#include "eval/choice_tasks.h"
#include "eval/compare.h"
#include "eval/windows.h"
#include "ops/kv_dtype.h"
#include "quantize/gguf_model.h"
#include "quantize/pipeline.h"
#include "quantize/simulated_model.h"

namespace awq {
namespace {

text::Documents read_text(const EvaluateOptions& options) {
  if (!options.text.empty()) return text::read_documents(options.text);
  return quantize::load_calibration_text(QuantizeOptions{}).split.held_out;
}

/// Null when the model is to be measured as it is.
std::unique_ptr<model::WeightSource> simulate(const model::ModelFiles& files, const EvaluateOptions& options) {
  const std::string& method = options.simulate_method;
  const int bits = options.simulate_bits;
  if (bits != 0 && bits != 2 && bits != 3 && bits != 4 && bits != 8) {
    fail(ErrorCode::kInvalidArgument, "--simulate-bits {}: expected 2, 3, 4 or 8", bits);
  }
  if (const auto* recipe = quantize::find_gguf_recipe(method)) {
    if (bits != 0) {
      fail(ErrorCode::kInvalidArgument, "--simulate-bits {}: not with --simulate-method {}, whose types have their own",
           bits, method);
    }
    return std::make_unique<quantize::GgufModel>(files, *recipe);
  }
  if (bits == 0 && method != "fp8") {
    if (method == EvaluateOptions{}.simulate_method) return nullptr;
    fail(ErrorCode::kInvalidArgument, "--simulate-method {}: needs --simulate-bits, or is no method without",
         printable(method));
  }
  QuantizeOptions q;
  q.model = options.model;
  q.method = options.simulate_method;
  q.recipe = options.simulate_recipe;
  q.calibration = options.simulate_calibration;
  if (bits != 0) q.bits = bits;
  q.group_size = options.simulate_group_size;
  // Only a format with room for any number of bits lets every linear take part; nothing is written.
  q.format = "compressed-tensors";
  q.on_progress = options.on_progress;
  return std::make_unique<quantize::SimulatedModel>(files, q);
}

/// `Model` is a source of weights or a resident model.
template <typename Model>
std::vector<TaskSummary> answer_tasks(const EvaluateOptions& options, Model& model, const text::Tokenizer& tokenizer) {
  // All files are read before the first question is answered: a wrong name should show at once.
  std::vector<eval::ChoiceTask> tasks;
  for (const std::string& name : options.tasks) {
    tasks.push_back(eval::read_choice_task(name, options.task_folder, options.task_limit));
  }
  std::vector<TaskSummary> out;
  for (const eval::ChoiceTask& task : tasks) {
    eval::TaskOptions run{.context = options.context};
    run.on_progress = [&](std::int64_t done, std::int64_t total) {
      if (options.on_progress) {
        options.on_progress({.stage = "answer", .done = done, .total = total, .detail = task.name});
      }
    };
    const eval::TaskScore score = eval::run_choice_task(task, model, tokenizer, run);
    out.push_back({.name = score.name,
                   .items = score.items,
                   .accuracy = score.accuracy,
                   .accuracy_stderr = score.accuracy_stderr,
                   .has_norm = score.has_norm,
                   .accuracy_norm = score.accuracy_norm,
                   .accuracy_norm_stderr = score.accuracy_norm_stderr,
                   .perplexity = score.perplexity});
  }
  return out;
}

gpu::ModelOptions model_options(const EvaluateOptions& options, const model::WeightSource& source,
                                std::optional<ops::KvDtype> kv_dtype) {
  gpu::ModelOptions out = gpu::model_options(options.dtype, "exact");
  out.kv_dtype = kv_dtype;
  const auto* files = dynamic_cast<const model::ModelFiles*>(&source);
  if (files != nullptr) out.f32_as = gpu::f32_activation_type(*files);
  return out;
}

void fill_scores(const eval::Scores& scores, bool compared, EvaluateSummary& summary) {
  summary.tokens = scores.tokens;
  summary.nll = scores.nll;
  summary.perplexity = std::exp(scores.nll);
  summary.compared = compared;
  if (!compared) return;
  summary.base_perplexity = std::exp(scores.base_nll);
  summary.kl_mean = scores.kl_mean;
  summary.kl_p99 = scores.kl_p99;
  summary.top1_agreement = scores.top1_agreement;
  summary.delta_nll_mean = scores.delta_nll_mean;
  summary.delta_nll_stderr = scores.delta_nll_stderr;
}

}  // namespace

EvaluateSummary evaluate_model(const EvaluateOptions& options) {
  api::set_up_threads(options.threads);
  api::set_up_activations(options.activations);
  const std::optional<ops::KvDtype> kv_dtype = ops::parse_kv_dtype(options.kv_dtype);
  const int device = api::open_device(options.device, "stored");
  if (device < 0 && kv_dtype.value_or(ops::KvDtype::kF32) != ops::KvDtype::kF32) {
    fail(ErrorCode::kInvalidArgument,
         "--kv-cache-dtype {}: the processor evaluates without a cache, with keys and values in f32: expected auto or "
         "f32",
         options.kv_dtype);
  }
  gpu::model_options(options.dtype, "exact", device >= 0);  // names that are wrong
  const double begin = monotonic_seconds();
  if (options.context < 2) fail(ErrorCode::kInvalidArgument, "--ctx {}: expected at least 2", options.context);
  if (options.max_tokens < 0)
    fail(ErrorCode::kInvalidArgument, "--max-tokens {}: expected 0 (all) or more", options.max_tokens);
  const model::ModelFiles files = model::ModelFiles::open(options.model);
  std::optional<model::ModelFiles> base;
  if (!options.against.empty()) base.emplace(model::ModelFiles::open(options.against));
  const auto tokenizer = text::Tokenizer::load(options.model);
  if (options.task_limit < 0) fail(ErrorCode::kInvalidArgument, "--limit {}: expected 0 or more", options.task_limit);
  const std::unique_ptr<model::WeightSource> simulated = simulate(files, options);
  const model::WeightSource& subject = simulated ? *simulated : static_cast<const model::WeightSource&>(files);
  EvaluateSummary summary;
  if (!options.tasks.empty()) {
    if (device >= 0) {
      const std::int64_t longest = std::min(options.context, files.config().max_position_embeddings);
      api::DeviceModel resident(subject, model_options(options, subject, kv_dtype), longest);
      summary.tasks = answer_tasks(options, resident, *tokenizer);
    } else {
      summary.tasks = answer_tasks(options, subject, *tokenizer);
    }
    summary.seconds = monotonic_seconds() - begin;
    summary.peak_rss_bytes = peak_rss_bytes();
    return summary;
  }
  const std::int64_t context = std::min(options.context, files.config().max_position_embeddings);
  const eval::Windows windows =
      eval::make_windows(read_text(options), *tokenizer, context, options.max_tokens, files.config().vocab_size);
  eval::CompareOptions compare;
  compare.on_progress = [&](std::int64_t done, std::int64_t total) {
    if (options.on_progress) options.on_progress({.stage = "measure", .done = done, .total = total});
  };
  // A simulated model is compared with the model that it was made from unless another base is named.
  const model::WeightSource* base_source = base ? &*base : (simulated ? &files : nullptr);
  summary.windows = static_cast<std::int64_t>(windows.size());
  if (device >= 0) {
    api::DeviceModel resident(subject, model_options(options, subject, kv_dtype), context);
    std::optional<api::DeviceModel> resident_base;
    if (base_source != nullptr)
      resident_base.emplace(*base_source, model_options(options, *base_source, std::nullopt), context);
    const eval::Scores scores =
        eval::compare_resident(resident, resident_base ? &*resident_base : nullptr, windows, compare);
    fill_scores(scores, base_source != nullptr, summary);
  } else {
    fill_scores(eval::compare(subject, base_source, windows, compare), base_source != nullptr, summary);
  }
  summary.seconds = monotonic_seconds() - begin;
  summary.peak_rss_bytes = peak_rss_bytes();
  return summary;
}

}  // namespace awq
