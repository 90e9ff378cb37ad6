#include "model/decoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <initializer_list>

#include "base/check.h"
#include "base/checked_math.h"
#include "model/rope_frequencies.h"
#include "ops/elementwise.h"

namespace awq::model {
namespace {

/// Rows `rows` of x, which rise, one after the other; `to` may be x.
void gather_rows(const float* x, std::span<const std::int64_t> rows, std::int64_t width, float* to) {
  for (const std::int64_t row : rows) {
    std::memmove(to, x + row * width, static_cast<std::size_t>(width) * sizeof(float));
    to += width;
  }
}

}  // namespace

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
  work_.results.ensure(static_cast<std::size_t>(tokens * config_.hidden_size));
  all_.reserve(tokens, sequences);
  with_results_.reserve(tokens, sequences);
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

void Decoder::Queries::clear() {
  tokens.clear();
  positions.clear();
  sequences.clear();
}

void Decoder::Queries::reserve(std::int64_t count, std::int64_t slices) {
  tokens.reserve(static_cast<std::size_t>(count));
  positions.reserve(static_cast<std::size_t>(count));
  sequences.reserve(static_cast<std::size_t>(slices));
}

void Decoder::Queries::add(std::int64_t first, const ops::AttentionSequence& sequence, std::int64_t count,
                           Workspace& work, std::int64_t width) {
  const std::int64_t skipped = sequence.query_count - count;
  sequences.push_back(sequence);
  sequences.back().q = work.q.data() + this->count() * width;
  sequences.back().out = work.attended.data() + this->count() * width;
  sequences.back().query_count = count;
  sequences.back().past += skipped;
  for (std::int64_t i = skipped; i < sequence.query_count; ++i) {
    tokens.push_back(first + i);
    positions.push_back(sequence.past + i);
  }
}

void Decoder::begin(std::span<const SequenceSlice> slices, const KvPool* pool) {
  slices_ = slices;
  pool_ = pool;
  longest_ = 0;
  all_.clear();
  with_results_.clear();
  std::int64_t new_tokens = 0;
  for (const SequenceSlice& slice : slices) new_tokens += slice.token_count;
  ensure_work(new_tokens);
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
    ops::AttentionSequence sequence{.query_count = slice.token_count};
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
    longest_ = std::max(longest_, sequence.past + slice.token_count);
    AWQ_CHECK(slice.results <= slice.token_count);
    all_.add(at, sequence, slice.token_count, work_, config_.q_width());
    with_results_.add(at, sequence, slice.result_count(), work_, config_.q_width());
    at += slice.token_count;
  }
  if (with_results_.count() < all_.count()) {
    work_.results.ensure(static_cast<std::size_t>(with_results_.count() * config_.hidden_size));
  }
  own_layer_ = {.layout = {kernels::KvType::kF32, config_.head_dim}, .num_kv_heads = config_.num_key_value_heads};
  work_.kv.ensure(own * static_cast<std::size_t>(own_layer_.block_bytes()));
  own_layer_.data = work_.kv.data();
}

/// Rotates queries and the keys of all tokens. Sequences past the trained context of dynamic NTK have frequencies of
/// their own.
void Decoder::rotate(const Queries& queries) {
  const std::int64_t d = config_.head_dim;
  struct Range {
    std::int64_t begin, count;
  };
  const auto turn = [&](const Range& q, const Range& k, std::int64_t length) {
    // Room for what comes next, so that a growing sequence does not rebuild the table at every token.
    const ops::RopeTable& table = rope_table(length, length / 2 + 256);
    ops::apply_rope(work_.q.data() + q.begin * config_.q_width(), q.count, config_.num_attention_heads, d,
                    queries.positions.data() + q.begin, table);
    ops::apply_rope(work_.k.data() + k.begin * config_.kv_width(), k.count, config_.num_key_value_heads, d,
                    all_.positions.data() + k.begin, table);
  };
  if (cache_is_valid(config_, longest_)) return turn({0, queries.count()}, {0, all_.count()}, longest_);
  Range q{0, 0}, k{0, 0};
  for (std::size_t i = 0; i < all_.sequences.size(); ++i) {
    const ops::AttentionSequence& sequence = all_.sequences[i];
    q = {q.begin + q.count, queries.sequences[i].query_count};
    k = {k.begin + k.count, sequence.query_count};
    turn(q, k, sequence.past + sequence.query_count);
  }
}

void Decoder::attend(const DecoderLayer& layer, std::int64_t layer_index, Queries& queries) {
  const std::int64_t d = config_.head_dim;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  if (config_.qk_norm) {
    ops::rms_norm(work_.q.data(), queries.count() * config_.num_attention_heads, d, layer.q_norm.data(), eps,
                  work_.q.data());
    ops::rms_norm(work_.k.data(), all_.count() * config_.num_key_value_heads, d, layer.k_norm.data(), eps,
                  work_.k.data());
  }
  rotate(queries);
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    const ops::AttentionSequence& sequence = all_.sequences[i];
    const ops::KvView cache = slices_[i].cache != nullptr  ? slices_[i].cache->layer(layer_index)
                              : !slices_[i].blocks.empty() ? pool_->layer(layer_index)
                                                           : own_layer_;
    queries.sequences[i].cache = cache;
    ops::store_kv(cache, sequence.blocks, sequence.past, sequence.query_count,
                  work_.k.data() + begin * config_.kv_width(), work_.v.data() + begin * config_.kv_width());
    begin += sequence.query_count;
  }
  ops::attention(queries.sequences, attention_shape(layer_index), work_.attention);
}

void Decoder::apply(std::span<const ops::Linear* const> linears, const float* x, std::int64_t m,
                    std::span<float* const> ys, ops::Precision precision) const {
  if (!row_invariant_) return ops::forward_together(linears, x, m, ys, precision);
  ops::forward_rows_alike(linears, x, m, ys);
}

void Decoder::forward_layer(const DecoderLayer& layer, std::int64_t layer_index, float* hidden,
                            ops::Precision precision, const SiteObserver& observer, const LayerPart& part) {
  if (all_.count() == 0) return;
  // From the queries on, a layer runs these tokens, whose hidden states lie one after the other in `state`.
  const bool narrow = part.results_only && with_results_.count() < all_.count();
  Queries& queries = narrow ? with_results_ : all_;
  const std::int64_t tokens = queries.count();
  float* state = narrow ? work_.results.data() : hidden;
  const std::int64_t h = config_.hidden_size;
  const std::int64_t inner = config_.intermediate_size;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  const auto observe = [&](Site site, const float* x) {
    if (observer) observer(site, x, tokens);
  };
  // All linears of a site read the same input: it is rounded once, and their products run in one parallel region.
  const auto project = [&](std::initializer_list<Role> roles, const AlignedBuffer<float>& x, std::int64_t rows,
                           std::initializer_list<float*> ys) {
    std::array<const ops::Linear*, kRoles> linears{};
    std::transform(roles.begin(), roles.end(), linears.begin(), [&](Role role) { return &layer[role]; });
    if (rows > 0) apply(std::span(linears).first(roles.size()), x.data(), rows, {ys.begin(), ys.size()}, precision);
  };

  if (part.after_attention) {
    ops::rms_norm(hidden, tokens, h, layer.mlp_norm.data(), eps, work_.normed.data());
  } else {
    ops::rms_norm(hidden, all_.count(), h, layer.input_norm.data(), eps, work_.normed.data());
    observe(Site::kAttentionInput, work_.normed.data());
    if (part.last == Site::kAttentionInput) return;
    if (narrow) {
      project({Role::kK, Role::kV}, work_.normed, all_.count(), {work_.k.data(), work_.v.data()});
      gather_rows(work_.normed.data(), queries.tokens, h, work_.normed.data());
      gather_rows(hidden, queries.tokens, h, state);
      project({Role::kQ}, work_.normed, tokens, {work_.q.data()});
    } else {
      project({Role::kQ, Role::kK, Role::kV}, work_.normed, tokens, {work_.q.data(), work_.k.data(), work_.v.data()});
    }
    attend(layer, layer_index, queries);
    if (tokens == 0) return;
    observe(Site::kAttentionOutput, work_.attended.data());
    if (part.last == Site::kAttentionOutput) return;
    project({Role::kO}, work_.attended, tokens, {work_.branch.data()});
    ops::add_rms_norm(state, work_.branch.data(), tokens, h, layer.mlp_norm.data(), eps, work_.normed.data());
  }
  observe(Site::kMlpInput, work_.normed.data());
  if (part.last == Site::kMlpInput) return;
  project({Role::kGate, Role::kUp}, work_.normed, tokens, {work_.gate.data(), work_.up.data()});
  ops::silu_multiply(work_.gate.data(), work_.up.data(), tokens * inner);
  observe(Site::kMlpProduct, work_.gate.data());
  if (part.last == Site::kMlpProduct) return;
  project({Role::kDown}, work_.gate, tokens, {work_.branch.data()});
  ops::add_to(state, work_.branch.data(), tokens * h);
  for (std::size_t i = 0; narrow && i < queries.tokens.size(); ++i) {
    std::copy_n(state + static_cast<std::int64_t>(i) * h, h, hidden + queries.tokens[i] * h);
  }
}

}  // namespace awq::model
