#include "model/decoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "model/rope_frequencies.h"
#include "ops/attention.h"
#include "ops/elementwise.h"

namespace awq::model {

KvCache::KvCache(const ModelConfig& config, std::int64_t initial_capacity)
    : kv_width_(config.kv_width()), layers_(static_cast<std::size_t>(config.num_hidden_layers)) {
  reserve(initial_capacity);
}

void KvCache::reserve(std::int64_t tokens) {
  if (tokens <= capacity_) return;
  const std::int64_t grown = std::max(tokens, capacity_ + capacity_ / 2);
  const auto old_count = static_cast<std::size_t>(length_ * kv_width_);
  for (LayerCache& layer : layers_) {
    for (AlignedBuffer<float>* buffer : {&layer.keys, &layer.values}) {
      AlignedBuffer<float> larger(static_cast<std::size_t>(grown * kv_width_));
      std::copy(buffer->data(), buffer->data() + old_count, larger.data());
      *buffer = std::move(larger);
    }
  }
  capacity_ = grown;
}

bool cache_is_valid(const ModelConfig& config, std::int64_t length) {
  return !depends_on_length(config.rope) || length <= config.rope.original_max_position_embeddings;
}

DecoderLayer::DecoderLayer(LayerWeights&& weights)
    : input_norm(std::move(weights.input_norm)),
      mlp_norm(std::move(weights.mlp_norm)),
      q_norm(std::move(weights.q_norm)),
      k_norm(std::move(weights.k_norm)) {
  for (std::size_t i = 0; i < kRoles; ++i) linears[i] = std::move(weights.linears[i]).into_linear();
}

LayerWeights DecoderLayer::into_weights() && {
  LayerWeights out;
  for (std::size_t i = 0; i < kRoles; ++i) {
    LinearWeights& to = out.linears[i];
    to.out_features = linears[i].out_features();
    to.in_features = linears[i].in_features();
    to.dtype = linears[i].dtype();
    to.dense = linears[i].take_weight();
    to.bias = linears[i].take_bias();
  }
  out.input_norm = std::move(input_norm);
  out.mlp_norm = std::move(mlp_norm);
  out.q_norm = std::move(q_norm);
  out.k_norm = std::move(k_norm);
  return out;
}

const ops::RopeTable& Decoder::rope_table(std::int64_t length) {
  const bool remake = depends_on_length(config_.rope) ? table_length_ != length : table_positions_ < length;
  if (remake) {
    // Room for what comes next, so that a growing sequence does not rebuild the table at every token.
    table_positions_ = depends_on_length(config_.rope) ? length : std::max<std::int64_t>(length + length / 2, 256);
    const RopeFrequencies rope = compute_rope(config_.rope, config_.head_dim, length);
    table_ = ops::RopeTable::make(rope.frequencies, rope.attention_factor, table_positions_);
    table_length_ = length;
  }
  return table_;
}

void Decoder::attend(const DecoderLayer& layer, std::int64_t layer_index, std::span<const SequenceSlice> slices,
                     std::int64_t tokens) {
  const std::int64_t d = config_.head_dim;
  const std::int64_t q_width = config_.q_width();
  const std::int64_t kv_width = config_.kv_width();
  const float eps = static_cast<float>(config_.rms_norm_eps);
  if (config_.qk_norm) {
    ops::rms_norm(work_.q.data(), tokens * config_.num_attention_heads, d, layer.q_norm.data(), eps, work_.q.data());
    ops::rms_norm(work_.k.data(), tokens * config_.num_key_value_heads, d, layer.k_norm.data(), eps, work_.k.data());
  }
  const ops::AttentionShape shape{.num_heads = config_.num_attention_heads,
                                  .num_kv_heads = config_.num_key_value_heads,
                                  .head_dim = d,
                                  .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d))),
                                  .window = config_.layer_window[static_cast<std::size_t>(layer_index)]};
  std::vector<ops::AttentionSequence> sequences;
  std::vector<std::int64_t> positions;
  std::int64_t begin = 0;
  for (const SequenceSlice& slice : slices) {
    const std::int64_t count = slice.token_count;
    const std::int64_t past = slice.cache != nullptr ? slice.cache->length() : 0;
    const std::int64_t length = past + count;
    const ops::RopeTable& table = rope_table(length);
    positions.resize(static_cast<std::size_t>(length));
    for (std::int64_t i = 0; i < length; ++i) positions[static_cast<std::size_t>(i)] = i;
    float* q = work_.q.data() + begin * q_width;
    float* k = work_.k.data() + begin * kv_width;
    ops::apply_rope(q, count, config_.num_attention_heads, d, positions.data() + past, table);
    ops::apply_rope(k, count, config_.num_key_value_heads, d, positions.data() + past, table);
    const float* keys = k;
    const float* values = work_.v.data() + begin * kv_width;
    if (slice.cache != nullptr) {
      LayerCache& cache = slice.cache->layer(layer_index);
      AWQ_CHECK(cache.keys.size() >= static_cast<std::size_t>(length * kv_width));
      std::copy(k, k + count * kv_width, cache.keys.data() + past * kv_width);
      std::copy(values, values + count * kv_width, cache.values.data() + past * kv_width);
      keys = cache.keys.data();
      values = cache.values.data();
    }
    sequences.push_back({.q = q,
                         .keys = keys,
                         .values = values,
                         .out = work_.attended.data() + begin * q_width,
                         .query_count = count,
                         .key_count = length});
    begin += count;
  }
  ops::attention(sequences, shape);
}

void Decoder::forward_layer(const DecoderLayer& layer, std::int64_t layer_index, std::span<const SequenceSlice> slices,
                            float* hidden, ops::Precision precision, const SiteObserver& observer) {
  std::int64_t tokens = 0;
  for (const SequenceSlice& slice : slices) tokens += slice.token_count;
  if (tokens == 0) return;
  const std::int64_t h = config_.hidden_size;
  const std::int64_t inner = config_.intermediate_size;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  const auto size = [&](std::int64_t width) { return static_cast<std::size_t>(tokens * width); };
  const auto observe = [&](Site site, const float* x) {
    if (observer) observer(site, x, tokens);
  };
  work_.normed.ensure(size(h));
  work_.branch.ensure(size(h));
  work_.q.ensure(size(config_.q_width()));
  work_.attended.ensure(size(config_.q_width()));
  work_.k.ensure(size(config_.kv_width()));
  work_.v.ensure(size(config_.kv_width()));
  work_.gate.ensure(size(inner));
  work_.up.ensure(size(inner));

  ops::rms_norm(hidden, tokens, h, layer.input_norm.data(), eps, work_.normed.data());
  observe(Site::kAttentionInput, work_.normed.data());
  layer[Role::kQ].forward(work_.normed.data(), tokens, work_.q.data(), precision);
  layer[Role::kK].forward(work_.normed.data(), tokens, work_.k.data(), precision);
  layer[Role::kV].forward(work_.normed.data(), tokens, work_.v.data(), precision);
  attend(layer, layer_index, slices, tokens);
  observe(Site::kAttentionOutput, work_.attended.data());
  layer[Role::kO].forward(work_.attended.data(), tokens, work_.branch.data(), precision);
  ops::add_to(hidden, work_.branch.data(), tokens * h);

  ops::rms_norm(hidden, tokens, h, layer.mlp_norm.data(), eps, work_.normed.data());
  observe(Site::kMlpInput, work_.normed.data());
  layer[Role::kGate].forward(work_.normed.data(), tokens, work_.gate.data(), precision);
  layer[Role::kUp].forward(work_.normed.data(), tokens, work_.up.data(), precision);
  ops::silu_multiply(work_.gate.data(), work_.up.data(), tokens * inner);
  observe(Site::kMlpProduct, work_.gate.data());
  layer[Role::kDown].forward(work_.gate.data(), tokens, work_.branch.data(), precision);
  ops::add_to(hidden, work_.branch.data(), tokens * h);
}

}  // namespace awq::model
