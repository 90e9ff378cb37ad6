#include "generate/generation.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "base/check.h"
#include "base/resources.h"
#include "base/stop.h"
#include "engine/engine_core.h"
#include "engine/language_step_model.h"
#include "model/rope_frequencies.h"

namespace awq::generate {
namespace {

// Prompt tokens that go through the model at a time; bounds the memory for activations.
constexpr std::int64_t kPrefillChunk = 512;

/// Where tokens come from, one or a few at a time.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  /// The tokens of the next step, none while the prompt is under way; sets `finish` with the last ones.
  virtual std::span<const std::int32_t> next(engine::FinishReason& finish) = 0;
  /// Tokens of the prompt that were not computed; known with the first token.
  virtual std::int64_t cached_tokens() const { return 0; }
};

// Tokens that a kept context has room for at least.
constexpr std::int64_t kLeastKept = 2048;

engine::EngineOptions engine_options(std::int64_t length, const GenerationOptions& options, std::int64_t chunk,
                                     bool kept) {
  engine::EngineOptions o;
  o.kv_dtype = options.kv_dtype;
  o.max_model_len = length;
  o.max_num_seqs = 1;
  o.max_num_batched_tokens = chunk;
  o.spec_tokens = options.spec_tokens;
  o.prefix_caching = kept;
  return o;
}

}  // namespace

/// An engine without a thread. Where it keeps nothing it has room for one text.
struct KeptContext::State {
  std::unique_ptr<engine::StepModel> pool;  ///< the model with keys and values; null where those are the device's
  std::unique_ptr<engine::EngineCore> core;
  std::int64_t length = 0;  ///< tokens that a text may have
  engine::RequestId last_id = 0;

  /// Makes room for `needed` tokens in a pool of its own.
  void grow(model::LanguageModel& model, std::int64_t needed, const GenerationOptions& options, bool kept) {
    if (core != nullptr && needed <= length) return;
    core.reset();
    pool.reset();
    const std::int64_t context = engine::cached_context(model.config());
    length = kept ? std::min(std::max(2 * needed, kLeastKept), context) : needed;
    try {
      make(model, options, kept);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kOutOfMemory || length == needed) throw;
      length = needed;  // without the room for more
      make(model, options, kept);
    }
  }
  /// On a device, whose pool has room for all that its model takes.
  void use(engine::StepModel& model, std::int64_t needed, const GenerationOptions& options, std::int64_t chunk,
           bool kept) {
    if (core != nullptr) return;
    length = kept ? model.max_model_len() : needed;
    core = std::make_unique<engine::EngineCore>(model, engine_options(length, options, chunk, kept), engine::HashKey{});
  }

 private:
  void make(model::LanguageModel& model, const GenerationOptions& options, bool kept) {
    const engine::EngineOptions o = engine_options(length, options, kPrefillChunk, kept);
    pool = std::make_unique<engine::LanguageStepModel>(model, o);
    pool->prepare();
    core = std::make_unique<engine::EngineCore>(*pool, o, engine::HashKey{});
  }
};

KeptContext::KeptContext() : state_(std::make_unique<State>()) {}
KeptContext::~KeptContext() = default;

namespace {

/// One request in an engine that has room for it.
class EngineSource : public TokenSource {
 public:
  EngineSource(KeptContext::State& state, std::span<const std::int32_t> prompt, const GenerationOptions& options)
      : sink_(std::make_shared<Sink>()), core_(*state.core), id_(++state.last_id) {
    engine::Request request{.prompt = {prompt.begin(), prompt.end()}, .sampling = options.sampling};
    core_.add(engine::make_request(id_, std::move(request), sink_));
  }
  /// A text that is ended from outside leaves its blocks.
  ~EngineSource() override { core_.cancel(id_); }
  EngineSource(const EngineSource&) = delete;
  EngineSource& operator=(const EngineSource&) = delete;

  std::span<const std::int32_t> next(engine::FinishReason& finish) override {
    sink_->ids.clear();
    engine::StepReport report;
    core_.step(report);
    finish = sink_->finish;
    if (finish == engine::FinishReason::kError) fail(ErrorCode::kCorruptFile, "{}", sink_->error);
    return sink_->ids;
  }
  std::int64_t cached_tokens() const override { return sink_->cached_tokens; }

 private:
  struct Sink : engine::RequestSink {
    std::vector<std::int32_t> ids;
    engine::FinishReason finish = engine::FinishReason::kNone;
    std::string error;
    std::int64_t cached_tokens = 0;
    void on_token(const engine::TokenEvent& event) override {
      if (event.token_id >= 0) ids.push_back(event.token_id);
      finish = event.finish;
      error = event.error;
      cached_tokens = event.cached_tokens;
    }
  };

  std::shared_ptr<Sink> sink_;
  engine::EngineCore& core_;
  engine::RequestId id_;
};

/// A sequence past the trained context of dynamic NTK: earlier tokens' frequencies change with every new one, so that
/// all of it is run again each time.
class RerunSource : public TokenSource {
 public:
  RerunSource(model::LanguageModel& model, std::span<const std::int32_t> prompt, const GenerationOptions& options)
      : model_(model),
        sampler_(model.config().vocab_size, model.config().eos_token_ids),
        params_(options.sampling),
        ids_(prompt.begin(), prompt.end()),
        prompt_(static_cast<std::int64_t>(prompt.size())),
        cache_(model.config(), prompt_) {
    model.set_row_invariant(true);
  }

  std::span<const std::int32_t> next(engine::FinishReason& finish) override {
    const bool cached = model::cache_is_valid(model_.config(), static_cast<std::int64_t>(ids_.size()));
    const auto done = static_cast<std::size_t>(cached ? cache_.length() : 0);
    const std::size_t count = std::min(ids_.size() - done, cached ? std::size_t{kPrefillChunk} : ids_.size());
    const model::SequenceSlice slice{.token_count = static_cast<std::int64_t>(count),
                                     .cache = cached ? &cache_ : nullptr,
                                     .results = done + count < ids_.size() ? 0 : 1};
    model_.run(std::span<const std::int32_t>(ids_).subspan(done, count), {&slice, 1});
    if (done + count < ids_.size()) return {};
    const auto last = static_cast<std::int64_t>(count) - 1;
    const engine::Picked picked =
        sampler_.pick(model_.logits({&last, 1}), {.params = &params_, .ids = ids_, .prompt_count = prompt_});
    if (picked.error != nullptr) fail(ErrorCode::kCorruptFile, "{}", picked.error);
    ids_.push_back(picked.id);
    const std::vector<std::int32_t>& eos = model_.config().eos_token_ids;
    if (!params_.ignore_eos && std::find(eos.begin(), eos.end(), picked.id) != eos.end()) {
      finish = engine::FinishReason::kStop;
    } else if (static_cast<std::int64_t>(ids_.size()) - prompt_ >= params_.max_tokens) {
      finish = engine::FinishReason::kLength;
    }
    return std::span<const std::int32_t>(ids_).last(1);
  }

 private:
  model::LanguageModel& model_;
  engine::Sampler sampler_;
  engine::SamplingParams params_;
  std::vector<std::int32_t> ids_;
  std::int64_t prompt_;
  model::KvCache cache_;
};

}  // namespace

void check_sampling(const engine::SamplingParams& p) {
  const auto require = [](bool ok, const char* name, double value, const char* expected) {
    if (!ok) fail(ErrorCode::kInvalidArgument, "--{} {}: expected {}", name, value, expected);
  };
  require(std::isfinite(p.temperature) && p.temperature >= 0, "temperature", p.temperature, "0 or more");
  require(p.top_k >= 0, "top-k", static_cast<double>(p.top_k), "0 or more");
  require(p.top_p > 0 && p.top_p <= 1, "top-p", p.top_p, "more than 0, at most 1");
  require(p.min_p >= 0 && p.min_p <= 1, "min-p", p.min_p, "0 to 1");
  require(std::isfinite(p.repetition_penalty) && p.repetition_penalty > 0, "repetition-penalty", p.repetition_penalty,
          "more than 0");
}

std::string StopMatcher::push(const std::string& text) {
  if (stopped_) return {};
  held_ += text;
  std::size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const std::size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const std::size_t here = begin + stop.size();
    if (here < end || (here == end && stop.size() > matched_.size())) {
      end = here;
      matched_ = stop;
    }
  }
  if (end != std::string::npos) {
    stopped_ = true;
    std::string shown = held_.substr(0, end - matched_.size());
    held_.clear();
    return shown;
  }
  std::size_t keep = 0;
  for (const std::string& stop : stops_) {
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) {
        keep = n;
        break;
      }
    }
  }
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, shown.size());
  return shown;
}

std::string StopMatcher::finish() { return stopped_ ? std::string() : std::exchange(held_, {}); }

namespace {

/// What a text may grow to: `context` tokens, or without end.
GenerationOptions checked(const GenerationOptions& given, std::span<const std::int32_t> prompt, std::int64_t context,
                          bool unbounded) {
  const auto prompt_count = static_cast<std::int64_t>(prompt.size());
  if (prompt.empty()) fail(ErrorCode::kInvalidArgument, "the prompt is empty and the tokenizer adds no BOS");
  if (prompt_count >= context && !unbounded) {
    fail(ErrorCode::kInvalidArgument, "the prompt has {} tokens, the context holds {}", prompt_count, context);
  }
  for (const std::string& stop : given.stop) {
    if (stop.empty()) fail(ErrorCode::kInvalidArgument, "--stop: expected a text that is not empty");
  }
  GenerationOptions options = given;
  options.sampling.ignore_eos = given.ignore_eos;
  if (!unbounded) options.sampling.max_tokens = std::min(options.sampling.max_tokens, context - prompt_count);
  return options;
}

/// Turns tokens into text until something ends it. `begin` is when the work on the prompt began.
GenerationResult write_text(TokenSource& source, const text::Tokenizer& tokenizer, std::span<const std::int32_t> prompt,
                            const std::vector<std::string>& stop, const TextCallback& on_text, double begin) {
  StopMatcher matcher(stop);
  text::StreamDecoder decoder(tokenizer);
  // Decoding starts with the prompt, whose text is not shown again: the first new token may depend on it (a decoder
  // drops the blank at the very beginning of a text).
  decoder.skip(prompt);
  GenerationResult result;
  const auto show = [&](const std::string& piece) {
    if (piece.empty()) return;
    result.text += piece;
    if (on_text) on_text(piece);
  };
  double prefilled = 0;
  engine::FinishReason finish = engine::FinishReason::kNone;
  while (result.finish_reason.empty()) {
    if (prefilled == 0) {
      stop_flag().throw_if_requested();
    } else if (stop_flag().signal_number() != 0) {  // what was written stays useful: the caller decides
      result.finish_reason = "interrupted";
      break;
    }
    const std::span<const std::int32_t> ids = source.next(finish);
    if (prefilled == 0 && !ids.empty()) prefilled = monotonic_seconds();
    for (std::size_t i = 0; i < ids.size() && !matcher.stopped(); ++i) {
      // The id that stops a text is no part of it.
      if (i + 1 == ids.size() && finish == engine::FinishReason::kStop) break;
      result.token_ids.push_back(ids[i]);
      show(matcher.push(decoder.push(ids[i])));
    }
    if (matcher.stopped() || finish == engine::FinishReason::kStop) {
      result.finish_reason = "stop";
    } else if (finish != engine::FinishReason::kNone) {
      result.finish_reason = "length";
    }
  }
  if (prefilled == 0) prefilled = monotonic_seconds();
  result.cached_tokens = source.cached_tokens();
  result.prefill_seconds = prefilled - begin;
  result.decode_seconds = monotonic_seconds() - prefilled;
  show(matcher.push(decoder.finish()));
  show(matcher.finish());
  return result;
}

}  // namespace

GenerationResult generate(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                          std::span<const std::int32_t> prompt, const GenerationOptions& given,
                          const TextCallback& on_text, KeptContext* kept) {
  const model::ModelConfig& config = model.config();
  const bool unbounded = model::depends_on_length(config.rope);
  const GenerationOptions options = checked(given, prompt, config.max_position_embeddings, unbounded);
  const double begin = monotonic_seconds();
  const std::int64_t longest = engine::cached_context(config) - static_cast<std::int64_t>(prompt.size());
  if (options.sampling.max_tokens > longest) {
    RerunSource source(model, prompt, options);
    return write_text(source, tokenizer, prompt, options.stop, on_text, begin);
  }
  KeptContext once;
  KeptContext::State& state = (kept != nullptr ? *kept : once).state();
  const auto needed = static_cast<std::int64_t>(prompt.size()) + options.sampling.max_tokens;
  state.grow(model, needed, options, kept != nullptr);
  EngineSource source(state, prompt, options);
  return write_text(source, tokenizer, prompt, options.stop, on_text, begin);
}

GenerationResult generate(engine::StepModel& model, const text::Tokenizer& tokenizer,
                          std::span<const std::int32_t> prompt, const GenerationOptions& given,
                          const TextCallback& on_text, std::int64_t chunk, KeptContext* kept) {
  const GenerationOptions options = checked(given, prompt, model.max_model_len(), false);
  const double begin = monotonic_seconds();
  KeptContext once;
  KeptContext::State& state = (kept != nullptr ? *kept : once).state();
  const auto needed = static_cast<std::int64_t>(prompt.size()) + options.sampling.max_tokens;
  state.use(model, needed, options, chunk, kept != nullptr);
  EngineSource source(state, prompt, options);
  return write_text(source, tokenizer, prompt, options.stop, on_text, begin);
}

}  // namespace awq::generate
