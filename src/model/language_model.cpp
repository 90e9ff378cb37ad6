#include "model/language_model.h"

#include <algorithm>

#include "base/check.h"
#include "ops/elementwise.h"

namespace awq::model {

LanguageModel::LanguageModel(const WeightSource& source) : config_(source.config()), decoder_(source.config()) {
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) layers_.emplace_back(source.load_layer(i));
  final_norm_ = source.load_final_norm();
  head_ = source.load_head().into_linear();
  LinearWeights embedding = source.load_embedding();
  if (embedding.out_features != 0) embedding_ = std::move(embedding).into_linear();
}

std::span<const float> LanguageModel::forward(std::span<const std::int32_t> ids, std::span<const SequenceSlice> slices,
                                              bool all) {
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
  for (const SequenceSlice& slice : slices) {
    expected += slice.token_count;
    if (slice.cache != nullptr) slice.cache->reserve(slice.cache->length() + slice.token_count);
  }
  AWQ_CHECK(expected == tokens);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    decoder_.forward_layer(layers_[i], static_cast<std::int64_t>(i), slices, hidden_.data());
  }
  for (const SequenceSlice& slice : slices) {
    if (slice.cache != nullptr) slice.cache->set_length(slice.cache->length() + slice.token_count);
  }
  const std::int64_t rows = all ? tokens : static_cast<std::int64_t>(slices.size());
  last_.ensure(static_cast<std::size_t>(rows) * h);
  if (all) {
    std::copy(hidden_.data(), hidden_.data() + ids.size() * h, last_.data());
  } else {
    std::size_t end = 0;
    for (std::size_t i = 0; i < slices.size(); ++i) {
      end += static_cast<std::size_t>(slices[i].token_count);
      std::copy(hidden_.data() + (end - 1) * h, hidden_.data() + end * h, last_.data() + i * h);
    }
  }
  ops::rms_norm(last_.data(), rows, config_.hidden_size, final_norm_.data(), static_cast<float>(config_.rms_norm_eps),
                last_.data());
  logits_.ensure(static_cast<std::size_t>(rows * config_.vocab_size));
  head_.forward(last_.data(), rows, logits_.data());
  return {logits_.data(), static_cast<std::size_t>(rows * config_.vocab_size)};
}

std::uint64_t LanguageModel::bytes_per_token() const {
  std::uint64_t total = head_.resident_bytes();
  for (const DecoderLayer& layer : layers_) {
    for (const ops::Linear& linear : layer.linears) total += linear.resident_bytes();
  }
  return total;
}

}  // namespace awq::model
