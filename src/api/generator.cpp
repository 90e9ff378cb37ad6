#include "awq/generator.h"

#include <algorithm>

#include "api/generation_options.h"
#include "api/setup.h"
#include "api/text_model.h"
#include "base/check.h"
#include "base/resources.h"

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
  api::set_up_threads(options.threads, options.threads_decode);
  api::set_up_activations(options.activations);
  api::wants_int8_head(options.head);  // refuses other names before anything is loaded
  const int device = api::open_device(options.device, options.head);
  const generate::GenerationOptions g = api::generation_options(options);
  const double begin = monotonic_seconds();
  const model::ModelFiles files = model::ModelFiles::open(options.model);
  const auto tokenizer = text::Tokenizer::load(options.model);
  api::TextModel model(files, options, device);
  const double load_seconds = monotonic_seconds() - begin;
  const std::vector<std::int32_t> prompt = prompt_ids(options, *tokenizer, files.config().vocab_size);
  const generate::GenerationResult result = model.generate(*tokenizer, prompt, g, options.on_text);
  return api::summarize(result, prompt.size(), load_seconds);
}

}  // namespace awq
