#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/request.h"
#include "engine/step_model.h"
#include "model/language_model.h"
#include "ops/kv_dtype.h"
#include "text/tokenizer.h"

namespace awq::generate {

struct GenerationOptions {
  /// temperature, top_k, top_p, min_p, repetition_penalty, seed and max_tokens are used.
  engine::SamplingParams sampling{.temperature = 0, .max_tokens = 128};
  std::vector<std::string> stop;  ///< the text ends before the first of these
  bool ignore_eos = false;
  ops::KvDtype kv_dtype = ops::KvDtype::kF32;
  std::int64_t spec_tokens = 0;  ///< tokens guessed per step from earlier text; the result is the same
};

struct GenerationResult {
  std::vector<std::int32_t> token_ids;  ///< new tokens, an end-of-sequence id not among them
  std::string text;                     ///< cut before a stop string
  std::string finish_reason;            ///< "stop", "length" or "interrupted"
  std::int64_t cached_tokens = 0;       ///< of the prompt, whose keys and values were kept
  double prefill_seconds = 0;
  double decode_seconds = 0;  ///< of token_ids.size() - 1 tokens
};

/// Throws kInvalidArgument naming the option of `awq run` whose value is out of range.
void check_sampling(const engine::SamplingParams& params);

/// Called with each piece of text as soon as it cannot be part of a stop string any more.
using TextCallback = std::function<void(const std::string& piece)>;

/// Keys and values that stay from one call of generate() to the next, so that a text which begins like earlier ones
/// computes only the rest. All calls with one have the same model, kv_dtype and spec_tokens. Its room for tokens
/// doubles when a text needs more, which computes that text once more.
class KeptContext {
 public:
  KeptContext();
  ~KeptContext();
  KeptContext(const KeptContext&) = delete;
  KeptContext& operator=(const KeptContext&) = delete;

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

/// Continues `prompt`. Throws kInvalidArgument for an empty prompt or one longer than the context. `kept`: null, or
/// what earlier calls left and this one adds to.
GenerationResult generate(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                          std::span<const std::int32_t> prompt, const GenerationOptions& options,
                          const TextCallback& on_text, KeptContext* kept = nullptr);

/// The same with a model that has its pool of keys and values already, on a device for instance; its max_model_len() is
/// the context. `options.kv_dtype` is not used. `chunk` tokens of the prompt go through it at a time.
GenerationResult generate(engine::StepModel& model, const text::Tokenizer& tokenizer,
                          std::span<const std::int32_t> prompt, const GenerationOptions& options,
                          const TextCallback& on_text, std::int64_t chunk, KeptContext* kept = nullptr);

/// Passes text through, holding back what may be the beginning of a stop string.
class StopMatcher {
 public:
  /// `stops` have to live as long: the choices of a request share them.
  explicit StopMatcher(std::span<const std::string> stops) : stops_(stops) {}
  /// Adds text; returns what is safe to show. After stopped() nothing more comes.
  std::string push(const std::string& text);
  std::string finish();
  bool stopped() const { return stopped_; }
  /// The stop string that ended the text, "" before that: the one that was complete first, of those the longest.
  const std::string& matched() const { return matched_; }

 private:
  std::span<const std::string> stops_;
  std::string held_;
  std::string matched_;
  bool stopped_ = false;
};

}  // namespace awq::generate
