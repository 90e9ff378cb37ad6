#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>

#include "base/check.h"
#include "base/checked_math.h"
#include "model/rope_frequencies.h"
#include "ops/elementwise.h"

namespace awq::model {

DecoderLayer::DecoderLayer(LayerWeights&& weights, PageArena* arena)
    : input_norm(std::move(weights.input_norm)),
      mlp_norm(std::move(weights.mlp_norm)),
      q_norm(std::move(weights.q_norm)),
      k_norm(std::move(weights.k_norm)) {
  for (std::size_t i = 0; i < kRoles; ++i) linears[i] = std::move(weights.linears[i]).into_linear(arena);
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

const ops::RopeTable& Decoder::rope_table(std::int64_t length, std::int64_t room) {
  const bool varies = !cache_is_valid(config_, length);
  const bool remake = varies ? table_length_ != length : table_length_ != 0 || table_positions_ < length;
  if (remake) {
    table_positions_ = varies ? length : length + room;
    table_length_ = varies ? length : 0;
    const RopeFrequencies rope = compute_rope(config_.rope, config_.head_dim, table_length_);
    table_ = ops::RopeTable::make(rope.frequencies, rope.attention_factor, table_positions_);
  }
  return table_;
}

void Decoder::reserve(std::int64_t tokens, std::int64_t sequences, std::int64_t length) {
  if (depends_on_length(config_.rope)) {
    length = std::min(length, config_.rope.original_max_position_embeddings);
  }
  rope_table(length, 0);
  positions_.reserve(static_cast<std::size_t>(tokens));
  sequences_.reserve(static_cast<std::size_t>(sequences));
  ensure_work(tokens);
  work_.attention.reserve(tokens, sequences, length, attention_shape(0));
}

ops::AttentionShape Decoder::attention_shape(std::int64_t layer_index) const {
  return {.num_heads = config_.num_attention_heads,
          .num_kv_heads = config_.num_key_value_heads,
          .head_dim = config_.head_dim,
          .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_dim))),
          .window = config_.layer_window[static_cast<std::size_t>(layer_index)]};
}

void Decoder::ensure_work(std::int64_t tokens) {
  const auto size = [&](std::int64_t width) { return static_cast<std::size_t>(tokens * width); };
  work_.normed.ensure(size(config_.hidden_size));
  work_.branch.ensure(size(config_.hidden_size));
  work_.q.ensure(size(config_.q_width()));
  work_.attended.ensure(size(config_.q_width()));
  work_.k.ensure(size(config_.kv_width()));
  work_.v.ensure(size(config_.kv_width()));
  work_.gate.ensure(size(config_.intermediate_size));
  work_.up.ensure(size(config_.intermediate_size));
}

void Decoder::begin(std::span<const SequenceSlice> slices, const KvPool* pool) {
  slices_ = slices;
  pool_ = pool;
  tokens_ = longest_ = 0;
  positions_.clear();
  sequences_.clear();
  for (const SequenceSlice& slice : slices) tokens_ += slice.token_count;
  ensure_work(tokens_);
  std::size_t own = 0;
  const auto blocks_for = [](std::int64_t tokens) {
    return ceil_div(static_cast<std::uint64_t>(tokens), static_cast<std::uint64_t>(kernels::kKvBlockTokens));
  };
  for (const SequenceSlice& slice : slices) {
    if (slice.cache == nullptr && slice.blocks.empty()) own += blocks_for(slice.token_count);
  }
  while (own_blocks_.size() < own) own_blocks_.push_back(static_cast<std::int32_t>(own_blocks_.size()));
  own = 0;
  std::int64_t at = 0;
  for (const SequenceSlice& slice : slices) {
    ops::AttentionSequence sequence{.q = work_.q.data() + at * config_.q_width(),
                                    .out = work_.attended.data() + at * config_.q_width(),
                                    .query_count = slice.token_count};
    if (slice.cache != nullptr) {
      sequence.past = slice.cache->length();
      sequence.blocks = slice.cache->blocks();
      AWQ_CHECK(slice.cache->capacity() >= sequence.past + slice.token_count);
    } else if (!slice.blocks.empty()) {
      AWQ_CHECK(pool != nullptr && slice.blocks.size() >= blocks_for(slice.past + slice.token_count));
      sequence.past = slice.past;
      sequence.blocks = slice.blocks.data();
    } else {
      sequence.blocks = own_blocks_.data() + own;
      own += blocks_for(slice.token_count);
    }
    for (std::int64_t i = 0; i < slice.token_count; ++i) positions_.push_back(sequence.past + i);
    longest_ = std::max(longest_, sequence.past + slice.token_count);
    sequences_.push_back(sequence);
    at += slice.token_count;
  }
  own_layer_ = {.layout = {kernels::KvType::kF32, config_.head_dim}, .num_kv_heads = config_.num_key_value_heads};
  work_.kv.ensure(own * static_cast<std::size_t>(own_layer_.block_bytes()));
  own_layer_.data = work_.kv.data();
}

/// Rotates q and k. Sequences past the trained context of dynamic NTK have frequencies of their own.
void Decoder::rotate() {
  const std::int64_t d = config_.head_dim;
  const auto turn = [&](std::int64_t begin, std::int64_t count, std::int64_t length) {
    // Room for what comes next, so that a growing sequence does not rebuild the table at every token.
    const ops::RopeTable& table = rope_table(length, length / 2 + 256);
    ops::apply_rope(work_.q.data() + begin * config_.q_width(), count, config_.num_attention_heads, d,
                    positions_.data() + begin, table);
    ops::apply_rope(work_.k.data() + begin * config_.kv_width(), count, config_.num_key_value_heads, d,
                    positions_.data() + begin, table);
  };
  if (cache_is_valid(config_, longest_)) return turn(0, tokens_, longest_);
  std::int64_t begin = 0;
  for (const ops::AttentionSequence& sequence : sequences_) {
    turn(begin, sequence.query_count, sequence.past + sequence.query_count);
    begin += sequence.query_count;
  }
}

void Decoder::attend(const DecoderLayer& layer, std::int64_t layer_index) {
  const std::int64_t d = config_.head_dim;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  if (config_.qk_norm) {
    ops::rms_norm(work_.q.data(), tokens_ * config_.num_attention_heads, d, layer.q_norm.data(), eps, work_.q.data());
    ops::rms_norm(work_.k.data(), tokens_ * config_.num_key_value_heads, d, layer.k_norm.data(), eps, work_.k.data());
  }
  rotate();
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    ops::AttentionSequence& sequence = sequences_[i];
    sequence.cache = slices_[i].cache != nullptr  ? slices_[i].cache->layer(layer_index)
                     : !slices_[i].blocks.empty() ? pool_->layer(layer_index)
                                                  : own_layer_;
    ops::store_kv(sequence.cache, sequence.blocks, sequence.past, sequence.query_count,
                  work_.k.data() + begin * config_.kv_width(), work_.v.data() + begin * config_.kv_width());
    begin += sequence.query_count;
  }
  ops::attention(sequences_, attention_shape(layer_index), work_.attention);
}

void Decoder::apply(std::span<const ops::Linear* const> linears, const float* x, std::int64_t m,
                    std::span<float* const> ys, ops::Precision precision) const {
  if (!row_invariant_) return ops::forward_together(linears, x, m, ys, precision);
  ops::forward_rows_alike(linears, x, m, ys);
}

void Decoder::forward_layer(const DecoderLayer& layer, std::int64_t layer_index, float* hidden,
                            ops::Precision precision, const SiteObserver& observer, const LayerPart& part) {
  const std::int64_t tokens = tokens_;
  if (tokens == 0) return;
  const std::int64_t h = config_.hidden_size;
  const std::int64_t inner = config_.intermediate_size;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  const auto observe = [&](Site site, const float* x) {
    if (observer) observer(site, x, tokens);
  };
  // All linears of a site read the same input: it is rounded once, and their products run in one parallel region.
  const auto project = [&](std::initializer_list<Role> roles, const AlignedBuffer<float>& x,
                           std::initializer_list<float*> ys) {
    std::array<const ops::Linear*, kRoles> linears{};
    std::transform(roles.begin(), roles.end(), linears.begin(), [&](Role role) { return &layer[role]; });
    apply(std::span(linears).first(roles.size()), x.data(), tokens, {ys.begin(), ys.size()}, precision);
  };

  if (part.after_attention) {
    ops::rms_norm(hidden, tokens, h, layer.mlp_norm.data(), eps, work_.normed.data());
  } else {
    ops::rms_norm(hidden, tokens, h, layer.input_norm.data(), eps, work_.normed.data());
    observe(Site::kAttentionInput, work_.normed.data());
    if (part.last == Site::kAttentionInput) return;
    project({Role::kQ, Role::kK, Role::kV}, work_.normed, {work_.q.data(), work_.k.data(), work_.v.data()});
    attend(layer, layer_index);
    observe(Site::kAttentionOutput, work_.attended.data());
    if (part.last == Site::kAttentionOutput) return;
    project({Role::kO}, work_.attended, {work_.branch.data()});
    ops::add_rms_norm(hidden, work_.branch.data(), tokens, h, layer.mlp_norm.data(), eps, work_.normed.data());
  }
  observe(Site::kMlpInput, work_.normed.data());
  if (part.last == Site::kMlpInput) return;
  project({Role::kGate, Role::kUp}, work_.normed, {work_.gate.data(), work_.up.data()});
  ops::silu_multiply(work_.gate.data(), work_.up.data(), tokens * inner);
  observe(Site::kMlpProduct, work_.gate.data());
  if (part.last == Site::kMlpProduct) return;
  project({Role::kDown}, work_.gate, {work_.branch.data()});
  ops::add_to(hidden, work_.branch.data(), tokens * h);
}

}  // namespace awq::model
