#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "model/kv_pool.h"
#include "model/model_files.h"
#include "ops/linear.h"
#include "ops/rope.h"

namespace awq::model {

/// A flat batch: tokens of all sequences one after the other.
/// A slice has a place for keys and values in the pool that the batch runs with, or a cache of its own, or none: then
/// it is a whole sequence that keeps nothing.
struct SequenceSlice {
  std::int64_t token_count = 0;               ///< new tokens of this sequence in the batch
  KvCache* cache = nullptr;                   ///< positions start at its length
  std::int64_t past = 0;                      ///< with blocks: tokens of the sequence whose keys and values are there
  std::span<const std::int32_t> blocks = {};  ///< with a pool: block table with room for past + token_count
};

/// Called with the activations that the linears of a site read: x [tokens, site_width]. Used for calibration.
using SiteObserver = std::function<void(Site site, const float* x, std::int64_t tokens)>;

/// One decoder layer, ready to run.
struct DecoderLayer {
  std::array<ops::Linear, kRoles> linears;
  AlignedBuffer<float> input_norm, mlp_norm, q_norm, k_norm;

  /// Packed codes lie in memory of `arena` where there is one.
  explicit DecoderLayer(LayerWeights&& weights, PageArena* arena = nullptr);
  /// The weights again, for layers made of dense linears.
  LayerWeights into_weights() &&;
  const ops::Linear& operator[](Role role) const { return linears[static_cast<std::size_t>(role)]; }
};

/// The part of a layer that a pass runs; by default all of it. Linears outside of it may be empty.
struct LayerPart {
  bool after_attention = false;  ///< only the MLP: `hidden` has attention's output in it already
  std::optional<Site> last;      ///< nothing behind the activations of this site
};

/// Scratch memory of a forward pass; grows to the largest batch and is then reused.
struct Workspace {
  AlignedBuffer<float> normed, q, k, v, attended, branch, gate, up;
  AlignedBuffer<std::byte> kv;  ///< keys and values of one layer, of slices that keep nothing
  ops::AttentionScratch attention;
};

/// The forward pass of the Llama family, one layer at a time, so that a caller may hold one layer or all of them.
class Decoder {
 public:
  explicit Decoder(const ModelConfig& config) : config_(config) {}

  /// Tells which sequences the next calls of forward_layer() run: once per batch.
  void begin(std::span<const SequenceSlice> slices, const KvPool* pool = nullptr);
  /// hidden [tokens, hidden_size] in binary32, updated in place. The caller advances the lengths of caches after the
  /// last layer. Where `part` ends at a site, `hidden` then holds what the next branch would be added to.
  void forward_layer(const DecoderLayer& layer, std::int64_t layer_index, float* hidden,
                     ops::Precision precision = ops::Precision::kF32, const SiteObserver& observer = nullptr,
                     const LayerPart& part = {});
  /// begin() and forward_layer() in one, for callers that hold one layer at a time.
  void forward_layer(const DecoderLayer& layer, std::int64_t layer_index, std::span<const SequenceSlice> slices,
                     float* hidden, ops::Precision precision = ops::Precision::kF32,
                     const SiteObserver& observer = nullptr, const LayerPart& part = {}) {
    begin(slices);
    forward_layer(layer, layer_index, hidden, precision, observer, part);
  }

  /// Products whose result for a row does not depend on how many rows there are: the same token alone and in a
  /// batch, in a chunk of a prompt and by itself (docs/numerics.md, "Same tokens").
  void set_row_invariant(bool on) { row_invariant_ = on; }
  /// ys[i] = linears[i](x) under that rule.
  void apply(std::span<const ops::Linear* const> linears, const float* x, std::int64_t m, std::span<float* const> ys,
             ops::Precision precision) const;
  /// Allocates what batches of `tokens` tokens need, for sequences of up to `length`.
  void reserve(std::int64_t tokens, std::int64_t sequences, std::int64_t length);

  const ModelConfig& config() const { return config_; }

 private:
  void ensure_work(std::int64_t tokens);
  void attend(const DecoderLayer& layer, std::int64_t layer_index);
  void rotate();
  ops::AttentionShape attention_shape(std::int64_t layer_index) const;
  /// The table for sequences of `length` tokens; a new one is made for `room` positions more.
  const ops::RopeTable& rope_table(std::int64_t length, std::int64_t room);

  ModelConfig config_;
  bool row_invariant_ = false;
  Workspace work_;
  ops::RopeTable table_;
  std::int64_t table_positions_ = 0;
  std::int64_t table_length_ = -1;  ///< sequence length a length-dependent table was made for

  // Of the batch under way.
  std::span<const SequenceSlice> slices_;
  const KvPool* pool_ = nullptr;
  std::int64_t tokens_ = 0;
  std::int64_t longest_ = 0;                       ///< past and new tokens of the longest sequence
  std::vector<std::int64_t> positions_;            ///< [tokens]
  std::vector<ops::AttentionSequence> sequences_;  ///< of each slice; `cache` is filled in per layer
  ops::KvView own_layer_;                          ///< keys and values of slices that keep nothing
  std::vector<std::int32_t> own_blocks_;           ///< 0, 1, 2 ...: tables of slices that keep nothing
};

}  // namespace awq::model
