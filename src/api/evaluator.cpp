#include "awq/evaluator.h"

#include <cmath>
#include <memory>
#include <optional>

#include "api/setup.h"
#include "base/check.h"
#include "base/resources.h"
#include "eval/compare.h"
#include "eval/windows.h"
#include "quantize/pipeline.h"
#include "quantize/simulated_model.h"

namespace awq {
namespace {

text::Documents read_text(const EvaluateOptions& options) {
  if (!options.text.empty()) return text::read_documents(options.text);
  return quantize::load_calibration_text(QuantizeOptions{}).split.held_out;
}

std::unique_ptr<model::WeightSource> simulate(const model::ModelFiles& files, const EvaluateOptions& options) {
  QuantizeOptions q;
  q.model = options.model;
  q.method = options.simulate_method;
  q.recipe = options.simulate_recipe;
  q.calibration = options.simulate_calibration;
  q.bits = options.simulate_bits;
  q.group_size = options.simulate_group_size;
  // Only a format with room for any number of bits lets every linear take part; nothing is written.
  q.format = "compressed-tensors";
  q.on_progress = options.on_progress;
  return std::make_unique<quantize::SimulatedModel>(files, q);
}

}  // namespace

EvaluateSummary evaluate_model(const EvaluateOptions& options) {
  api::set_up_threads(options.threads);
  api::set_up_activations(options.activations);
  const double begin = monotonic_seconds();
  if (options.context < 2) fail(ErrorCode::kInvalidArgument, "--ctx {}: expected at least 2", options.context);
  if (options.max_tokens < 0)
    fail(ErrorCode::kInvalidArgument, "--max-tokens {}: expected 0 (all) or more", options.max_tokens);
  const model::ModelFiles files = model::ModelFiles::open(options.model);
  std::optional<model::ModelFiles> base;
  if (!options.against.empty()) base.emplace(model::ModelFiles::open(options.against));
  const auto tokenizer = text::Tokenizer::load(options.model);
  const std::int64_t context = std::min(options.context, files.config().max_position_embeddings);
  const eval::Windows windows =
      eval::make_windows(read_text(options), *tokenizer, context, options.max_tokens, files.config().vocab_size);
  std::unique_ptr<model::WeightSource> simulated;
  if (options.simulate_bits != 0) simulated = simulate(files, options);
  eval::CompareOptions compare;
  compare.on_progress = [&](std::int64_t done, std::int64_t total) {
    if (options.on_progress) options.on_progress({.stage = "measure", .done = done, .total = total});
  };
  // A simulated model is compared with the model that it was made from unless another base is named.
  const model::WeightSource* base_source = base ? &*base : (simulated ? &files : nullptr);
  const model::WeightSource& subject = simulated ? *simulated : static_cast<const model::WeightSource&>(files);
  const eval::Scores scores = eval::compare(subject, base_source, windows, compare);
  EvaluateSummary summary;
  summary.tokens = scores.tokens;
  summary.windows = static_cast<std::int64_t>(windows.size());
  summary.nll = scores.nll;
  summary.perplexity = std::exp(scores.nll);
  summary.compared = base_source != nullptr;
  if (summary.compared) {
    summary.base_perplexity = std::exp(scores.base_nll);
    summary.kl_mean = scores.kl_mean;
    summary.kl_p99 = scores.kl_p99;
    summary.top1_agreement = scores.top1_agreement;
    summary.delta_nll_mean = scores.delta_nll_mean;
    summary.delta_nll_stderr = scores.delta_nll_stderr;
  }
  summary.seconds = monotonic_seconds() - begin;
  summary.peak_rss_bytes = peak_rss_bytes();
  return summary;
}

}  // namespace awq
