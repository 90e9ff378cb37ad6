#include "awq/generator.h"

#include <algorithm>

#include "api/setup.h"
#include "base/check.h"
#include "base/resources.h"
#include "generate/generation.h"
#include "model/language_model.h"

namespace awq {
namespace {

/// The ids to continue. An id that the model has no row for is the caller's mistake or the tokenizer's.
std::vector<std::int32_t> prompt_ids(const GenerateOptions& options, const text::Tokenizer& tokenizer,
                                     std::int64_t vocab_size) {
  const bool given = !options.prompt_ids.empty();
  std::vector<std::int32_t> ids =
      given ? options.prompt_ids : tokenizer.encode(options.prompt, {.add_special_tokens = true});
  const auto bad = std::find_if(ids.begin(), ids.end(), [&](std::int32_t id) { return id < 0 || id >= vocab_size; });
  if (bad == ids.end()) return ids;
  if (given) fail(ErrorCode::kInvalidArgument, "--prompt-ids {}: expected 0 to {}", *bad, vocab_size - 1);
  fail(ErrorCode::kCorruptFile, "the tokenizer gives id {}, but the model has {} tokens (config.json vocab_size)", *bad,
       vocab_size);
}

}  // namespace

GenerateSummary generate_text(const GenerateOptions& options) {
  api::set_up_threads(options.threads);
  api::set_up_activations(options.activations);
  const bool int8_head = api::wants_int8_head(options.head);
  generate::GenerationOptions g;
  g.sampling.temperature = options.temperature;
  g.sampling.top_k = options.top_k;
  g.sampling.top_p = options.top_p;
  g.sampling.min_p = options.min_p;
  g.sampling.repetition_penalty = options.repetition_penalty;
  g.sampling.seed = options.seed;
  g.sampling.max_tokens = options.max_tokens;
  g.kv_dtype = ops::parse_kv_dtype(options.kv_dtype);
  g.spec_tokens = options.spec_ngram;
  if (g.spec_tokens < 0 || g.spec_tokens > 15) {
    fail(ErrorCode::kInvalidArgument, "--spec-ngram {}: expected 0 to 15", g.spec_tokens);
  }
  generate::check_sampling(g.sampling);
  const double begin = monotonic_seconds();
  const model::ModelFiles files = model::ModelFiles::open(options.model);
  const auto tokenizer = text::Tokenizer::load(options.model);
  model::LanguageModel model(files, int8_head);
  GenerateSummary summary;
  summary.load_seconds = monotonic_seconds() - begin;
  const std::vector<std::int32_t> prompt = prompt_ids(options, *tokenizer, files.config().vocab_size);
  g.stop = options.stop;
  g.ignore_eos = options.ignore_eos;
  const generate::GenerationResult result = generate::generate(model, *tokenizer, prompt, g, options.on_text);
  summary.prompt_tokens = static_cast<std::int64_t>(prompt.size());
  summary.completion_tokens = static_cast<std::int64_t>(result.token_ids.size());
  summary.text = result.text;
  summary.token_ids = result.token_ids;
  summary.finish_reason = result.finish_reason;
  if (result.prefill_seconds > 0)
    summary.prefill_tokens_per_s = static_cast<double>(prompt.size()) / result.prefill_seconds;
  // The first new token comes out of the prefill.
  if (result.token_ids.size() > 1 && result.decode_seconds > 0) {
    summary.decode_tokens_per_s = static_cast<double>(result.token_ids.size() - 1) / result.decode_seconds;
  }
  summary.peak_rss_bytes = peak_rss_bytes();
  return summary;
}

}  // namespace awq
