#include "api/generation_options.h"

#include "base/check.h"
#include "base/resources.h"

namespace awq::api {

generate::GenerationOptions generation_options(const GenerateOptions& options) {
  generate::GenerationOptions out;
  out.sampling.temperature = options.temperature;
  out.sampling.top_k = options.top_k;
  out.sampling.top_p = options.top_p;
  out.sampling.min_p = options.min_p;
  out.sampling.repetition_penalty = options.repetition_penalty;
  out.sampling.seed = options.seed;
  out.sampling.max_tokens = options.max_tokens;
  out.stop = options.stop;
  out.ignore_eos = options.ignore_eos;
  out.kv_dtype = ops::kv_dtype_of_processor(options.kv_dtype);
  out.spec_tokens = options.spec_ngram;
  if (out.spec_tokens < 0 || out.spec_tokens > 15) {
    fail(ErrorCode::kInvalidArgument, "--spec-ngram {}: expected 0 to 15", out.spec_tokens);
  }
  generate::check_sampling(out.sampling);
  return out;
}

GenerateSummary summarize(const generate::GenerationResult& result, std::size_t prompt_tokens, double load_seconds) {
  GenerateSummary out;
  out.prompt_tokens = static_cast<std::int64_t>(prompt_tokens);
  out.cached_tokens = result.cached_tokens;
  out.completion_tokens = static_cast<std::int64_t>(result.token_ids.size());
  out.text = result.text;
  out.token_ids = result.token_ids;
  out.finish_reason = result.finish_reason;
  out.load_seconds = load_seconds;
  if (result.prefill_seconds > 0) {
    out.prefill_tokens_per_s = static_cast<double>(out.prompt_tokens - out.cached_tokens) / result.prefill_seconds;
  }
  // The first new token comes out of the prefill.
  if (result.token_ids.size() > 1 && result.decode_seconds > 0) {
    out.decode_tokens_per_s = static_cast<double>(result.token_ids.size() - 1) / result.decode_seconds;
  }
  out.peak_rss_bytes = peak_rss_bytes();
  return out;
}

}  // namespace awq::api
