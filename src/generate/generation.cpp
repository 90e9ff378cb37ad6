#include "generate/generation.h"

#include <algorithm>

#include "base/check.h"
#include "base/resources.h"
#include "base/stop.h"

namespace awq::generate {
namespace {
// Prompt tokens that go through the model at a time; bounds the memory for activations.
constexpr std::size_t kPrefillChunk = 512;

/// One growing sequence and its cache.
class Sequence {
 public:
  Sequence(model::LanguageModel& model, std::span<const std::int32_t> prompt, std::int64_t max_tokens)
      : model_(model),
        ids_(prompt.begin(), prompt.end()),
        cache_(model.config(), static_cast<std::int64_t>(prompt.size()) + std::min<std::int64_t>(max_tokens, 256)) {}

  std::span<const float> prefill() {
    if (!valid()) return run_all();
    std::span<const float> logits;
    for (std::size_t at = 0; at < ids_.size(); at += kPrefillChunk) {
      stop_flag().throw_if_requested();
      logits = run_cached(std::span<const std::int32_t>(ids_).subspan(at, std::min(kPrefillChunk, ids_.size() - at)));
    }
    return logits;
  }

  std::span<const float> append(std::int32_t id) {
    ids_.push_back(id);
    return valid() ? run_cached({&id, 1}) : run_all();
  }

  const std::vector<std::int32_t>& ids() const { return ids_; }

 private:
  bool valid() const { return model::cache_is_valid(model_.config(), static_cast<std::int64_t>(ids_.size())); }
  std::span<const float> run_all() {
    const model::SequenceSlice slice{.token_count = static_cast<std::int64_t>(ids_.size())};
    return model_.forward(ids_, {&slice, 1});
  }
  std::span<const float> run_cached(std::span<const std::int32_t> part) {
    const model::SequenceSlice slice{.token_count = static_cast<std::int64_t>(part.size()), .cache = &cache_};
    return model_.forward(part, {&slice, 1});
  }

  model::LanguageModel& model_;
  std::vector<std::int32_t> ids_;
  model::KvCache cache_;
};

}  // namespace

std::string StopMatcher::push(const std::string& text) {
  if (stopped_) return {};
  held_ += text;
  std::size_t cut = std::string::npos;
  for (const std::string& stop : stops_) cut = std::min(cut, held_.find(stop));
  if (cut != std::string::npos) {
    stopped_ = true;
    std::string shown = held_.substr(0, cut);
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

GenerationResult generate(model::LanguageModel& model, const text::Tokenizer& tokenizer,
                          std::span<const std::int32_t> prompt, const GenerationOptions& options,
                          const TextCallback& on_text) {
  const std::int64_t context = model.config().max_position_embeddings;
  if (prompt.empty()) fail(ErrorCode::kInvalidArgument, "the prompt is empty and the tokenizer adds no BOS");
  const bool unbounded = model.config().rope.kind == model::RopeConfig::Kind::kDynamic;
  if (static_cast<std::int64_t>(prompt.size()) >= context && !unbounded) {
    fail(ErrorCode::kInvalidArgument, "the prompt has {} tokens, the context holds {}", prompt.size(), context);
  }
  for (const std::string& stop : options.stop) {
    if (stop.empty()) fail(ErrorCode::kInvalidArgument, "--stop: expected a text that is not empty");
  }
  Sampler sampler(options.sampling);
  StopMatcher matcher(options.stop);
  text::StreamDecoder decoder(tokenizer);
  // Decoding starts with the prompt, whose text is not shown again: the first new token may depend on it (a decoder
  // drops the blank at the very beginning of a text).
  for (const std::int32_t id : prompt) decoder.push(id);
  GenerationResult result;
  const auto show = [&](const std::string& piece) {
    if (piece.empty()) return;
    result.text += piece;
    if (on_text) on_text(piece);
  };

  Sequence sequence(model, prompt, options.max_tokens);
  const double begin = monotonic_seconds();
  std::span<const float> logits = sequence.prefill();
  const double prefilled = monotonic_seconds();
  result.prefill_seconds = prefilled - begin;
  result.finish_reason = "length";
  while (static_cast<std::int64_t>(result.token_ids.size()) < options.max_tokens) {
    const std::int32_t id = sampler.pick(logits, sequence.ids());
    const bool ends = std::find(options.stop_ids.begin(), options.stop_ids.end(), id) != options.stop_ids.end();
    if (ends && !options.ignore_stop_ids) {
      result.finish_reason = "stop";
      break;
    }
    result.token_ids.push_back(id);
    show(matcher.push(decoder.push(id)));
    if (matcher.stopped()) {
      result.finish_reason = "stop";
      break;
    }
    if (static_cast<std::int64_t>(result.token_ids.size()) == options.max_tokens) break;
    if (static_cast<std::int64_t>(sequence.ids().size()) + 1 >= context && !unbounded) break;
    if (stop_flag().signal_number() != 0) {  // what was written stays useful: the caller decides
      result.finish_reason = "interrupted";
      break;
    }
    logits = sequence.append(id);
  }
  result.decode_seconds = monotonic_seconds() - prefilled;
  show(matcher.push(decoder.finish()));
  show(matcher.finish());
  return result;
}

}  // namespace awq::generate
