#include "awq/generator.h"

#include "api/setup.h"
#include "base/resources.h"
#include "generate/generation.h"
#include "model/language_model.h"

namespace awq {

GenerateSummary generate_text(const GenerateOptions& options) {
  api::set_up_threads(options.threads);
  generate::GenerationOptions g;
  g.sampling = {.temperature = options.temperature,
                .top_k = options.top_k,
                .top_p = options.top_p,
                .min_p = options.min_p,
                .repetition_penalty = options.repetition_penalty,
                .seed = options.seed};
  generate::check_sampling(g.sampling);
  const double begin = monotonic_seconds();
  const model::ModelFiles files = model::ModelFiles::open(options.model);
  const auto tokenizer = text::Tokenizer::load(options.model);
  model::LanguageModel model(files);
  GenerateSummary summary;
  summary.load_seconds = monotonic_seconds() - begin;
  const std::vector<std::int32_t> prompt =
      options.prompt_ids.empty() ? tokenizer->encode(options.prompt, {.add_special_tokens = true}) : options.prompt_ids;
  g.max_tokens = options.max_tokens;
  g.stop = options.stop;
  g.stop_ids = files.config().eos_token_ids;
  g.ignore_stop_ids = options.ignore_eos;
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
