#include "model/language_model.h"

#include <algorithm>

#include "base/check.h"
#include "base/resources.h"
#include "ops/elementwise.h"
#include "ops/gemm.h"

namespace awq::model {

namespace {

/// Refuses a model whose other layers cannot fit behind its first, which takes `layer_bytes`: the system would end the
/// process later, without a word. What is counted is what is certainly needed; caches and buffers come on top.
void check_room(const ModelConfig& config, std::uint64_t layer_bytes) {
  const auto available = available_memory_bytes();
  if (!available) return;
  const auto layers = static_cast<std::uint64_t>(config.num_hidden_layers);
  const double head = static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size);  // of 8 bits
  const double ends = config.tie_word_embeddings ? head : 2 * head;
  const double missing = static_cast<double>(layer_bytes) * static_cast<double>(layers - 1) + ends;
  if (missing <= static_cast<double>(*available)) return;
  fail(ErrorCode::kOutOfMemory,
       "the weights need about {:.1f} GB of memory ({} layers of {:.3f} GB, and both ends), {:.1f} GB are available; "
       "expected a smaller model, or one of fewer bits",
       (missing + static_cast<double>(layer_bytes)) / 1e9, layers, static_cast<double>(layer_bytes) / 1e9,
       static_cast<double>(*available + layer_bytes) / 1e9);
}

}  // namespace

LanguageModel::LanguageModel(const WeightSource& source, bool int8_head)
    : config_(source.config()), decoder_(source.config()) {
  PageArena arena;
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    layers_.emplace_back(source.load_layer(i), &arena);
    std::uint64_t bytes = 0;
    for (const ops::Linear& linear : layers_.back().linears) bytes += linear.resident_bytes();
    if (i == 0) check_room(config_, bytes);
  }
  final_norm_ = source.load_final_norm();
  head_ = source.load_head().into_linear(&arena);
  LinearWeights embedding = source.load_embedding();
  if (embedding.out_features != 0) embedding_ = std::move(embedding).into_linear(&arena);
  if (int8_head && !head_.quantized()) {
    ops::Linear rounded = head_.rounded_to_int8(&arena);
    if (embedding_.empty()) embedding_ = std::move(head_);
    head_ = std::move(rounded);
  }
}

void LanguageModel::run(std::span<const std::int32_t> ids, std::span<const SequenceSlice> slices, const KvPool* pool) {
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const auto h = static_cast<std::size_t>(config_.hidden_size);
  hidden_.ensure(ids.size() * h);
  const ops::Linear& table = embedding_.empty() ? head_ : embedding_;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= config_.vocab_size) {
      fail(ErrorCode::kInvalidArgument, "token id {} is outside the vocabulary of {}", ids[i], config_.vocab_size);
    }
    table.expand_rows(static_cast<std::uint64_t>(ids[i]), static_cast<std::uint64_t>(ids[i]) + 1,
                      hidden_.data() + i * h);
  }
  std::int64_t expected = 0;
  has_result_.clear();
  for (const SequenceSlice& slice : slices) {
    expected += slice.token_count;
    has_result_.resize(static_cast<std::size_t>(expected - slice.result_count()), 0);
    has_result_.resize(static_cast<std::size_t>(expected), 1);
    if (slice.cache != nullptr) slice.cache->reserve(slice.cache->length() + slice.token_count);
  }
  AWQ_CHECK(expected == tokens);
  const bool decodes =
      std::all_of(slices.begin(), slices.end(), [](const SequenceSlice& slice) { return slice.token_count == 1; });
  ops::enter_phase(decodes ? ops::Phase::kDecode : ops::Phase::kPrefill);
  decoder_.begin(slices, pool);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    decoder_.forward_layer(layers_[i], static_cast<std::int64_t>(i), hidden_.data(), ops::Precision::kF32, nullptr,
                           {.results_only = i + 1 == layers_.size()});
  }
  for (const SequenceSlice& slice : slices) {
    if (slice.cache != nullptr) slice.cache->set_length(slice.cache->length() + slice.token_count);
  }
}

std::span<float> LanguageModel::logits(std::span<const std::int64_t> tokens) {
  const auto rows = static_cast<std::int64_t>(tokens.size());
  const std::int64_t h = config_.hidden_size;
  last_.ensure(static_cast<std::size_t>(rows * h));
  for (std::int64_t i = 0; i < rows; ++i) {
    const std::int64_t token = tokens[static_cast<std::size_t>(i)];
    AWQ_CHECK(has_result_.at(static_cast<std::size_t>(token)) != 0);
    const float* from = hidden_.data() + token * h;
    std::copy(from, from + h, last_.data() + i * h);
  }
  ops::rms_norm(last_.data(), rows, h, final_norm_.data(), static_cast<float>(config_.rms_norm_eps), last_.data());
  const auto count = static_cast<std::size_t>(rows * config_.vocab_size);
  logits_.ensure(count);
  const ops::Linear* head = &head_;
  float* logits = logits_.data();
  decoder_.apply({&head, 1}, last_.data(), rows, {&logits, 1}, ops::Precision::kF32);
  return {logits_.data(), count};
}

std::span<const float> LanguageModel::forward(std::span<const std::int32_t> ids, std::span<const SequenceSlice> slices,
                                              bool all, const KvPool* pool) {
  run(ids, slices, pool);
  rows_.clear();
  std::int64_t end = 0;
  for (const SequenceSlice& slice : slices) {
    if (all) {
      for (std::int64_t i = 0; i < slice.token_count; ++i) rows_.push_back(end + i);
    } else {
      rows_.push_back(end + slice.token_count - 1);
    }
    end += slice.token_count;
  }
  return logits(rows_);
}

void LanguageModel::reserve(std::int64_t tokens, std::int64_t sequences, std::int64_t length, std::int64_t rows) {
  decoder_.reserve(tokens, sequences, length);
  hidden_.ensure(static_cast<std::size_t>(tokens * config_.hidden_size));
  last_.ensure(static_cast<std::size_t>(rows * config_.hidden_size));
  logits_.ensure(static_cast<std::size_t>(rows * config_.vocab_size));
  rows_.reserve(static_cast<std::size_t>(rows));
  has_result_.reserve(static_cast<std::size_t>(tokens));
}

void LanguageModel::reserve_products(std::int64_t tokens, std::int64_t rows) const {
  for (const DecoderLayer& layer : layers_) {
    for (const ops::Linear& linear : layer.linears) linear.reserve(tokens);
  }
  head_.reserve(rows);
}

std::uint64_t LanguageModel::bytes_per_token() const {
  std::uint64_t total = head_.resident_bytes();
  for (const DecoderLayer& layer : layers_) {
    for (const ops::Linear& linear : layer.linears) total += linear.resident_bytes();
  }
  return total;
}

}  // namespace awq::model
