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
  std::int64_t results = -1;  ///< last tokens whose hidden states the caller needs; -1: those of all of them

  std::int64_t result_count() const { return results < 0 ? token_count : results; }
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
  /// Of tokens without results only keys and values; their hidden states stay what they were. For a model's last layer.
  bool results_only = false;
};

/// Scratch memory of a forward pass; grows to the largest batch and is then reused.
struct Workspace {
  AlignedBuffer<float> normed, q, k, v, attended, branch, gate, up;
  AlignedBuffer<float> results;  ///< hidden states of tokens with results, where others have none
  AlignedBuffer<std::byte> kv;   ///< keys and values of one layer, of slices that keep nothing
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
  /// Tokens of the batch whose queries run: all, or those with results.
  struct Queries {
    std::vector<std::int64_t> tokens;               ///< of the batch, rising
    std::vector<std::int64_t> positions;            ///< of each of them
    std::vector<ops::AttentionSequence> sequences;  ///< of each slice; `cache` is filled in per layer

    std::int64_t count() const { return static_cast<std::int64_t>(tokens.size()); }
    void clear();
    void reserve(std::int64_t count, std::int64_t slices);
    /// Those of the last `count` tokens of the slice whose first token is `first`, of `sequence`.
    void add(std::int64_t first, const ops::AttentionSequence& sequence, std::int64_t count, Workspace& work,
             std::int64_t width);
  };

  void ensure_work(std::int64_t tokens);
  void attend(const DecoderLayer& layer, std::int64_t layer_index, Queries& queries);
  void rotate(const Queries& queries);
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
  std::int64_t longest_ = 0;  ///< past and new tokens of the longest sequence
  Queries all_, with_results_;
  ops::KvView own_layer_;                 ///< keys and values of slices that keep nothing
  std::vector<std::int32_t> own_blocks_;  ///< 0, 1, 2 ...: tables of slices that keep nothing
};

}  // namespace awq::model
