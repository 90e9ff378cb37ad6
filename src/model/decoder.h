#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/model_files.h"
#include "ops/linear.h"
#include "ops/rope.h"

namespace awq::model {

/// Keys and values of one sequence in one layer: [capacity, kv_width] each, `length` rows in use.
/// Keys are stored rotated: a cache serves as long as the frequencies stay (see cache_is_valid()).
struct LayerCache {
  AlignedBuffer<float> keys, values;
};

/// All layers' caches of one sequence, grown in steps as the sequence grows.
class KvCache {
 public:
  KvCache(const ModelConfig& config, std::int64_t initial_capacity);
  std::int64_t length() const { return length_; }
  void set_length(std::int64_t length) { length_ = length; }
  /// Makes room for `tokens` positions in every layer.
  void reserve(std::int64_t tokens);
  LayerCache& layer(std::int64_t i) { return layers_[static_cast<std::size_t>(i)]; }

 private:
  std::int64_t kv_width_;
  std::int64_t capacity_ = 0;
  std::int64_t length_ = 0;
  std::vector<LayerCache> layers_;
};

/// False when a sequence that grows to `length` tokens changes the rotary frequencies of its earlier tokens (dynamic
/// NTK past the trained context): it has to be run again from its start, without a cache.
bool cache_is_valid(const ModelConfig& config, std::int64_t length);

/// A flat batch: tokens of all sequences one after the other.
struct SequenceSlice {
  std::int64_t token_count = 0;  ///< new tokens of this sequence in the batch
  KvCache* cache = nullptr;      ///< null: a whole sequence that keeps nothing
};

/// Called with the activations that the linears of a site read: x [tokens, site_width]. Used for calibration.
using SiteObserver = std::function<void(Site site, const float* x, std::int64_t tokens)>;

/// One decoder layer, ready to run.
struct DecoderLayer {
  std::array<ops::Linear, kRoles> linears;
  AlignedBuffer<float> input_norm, mlp_norm, q_norm, k_norm;

  explicit DecoderLayer(LayerWeights&& weights);
  /// The weights again, for layers made of dense linears.
  LayerWeights into_weights() &&;
  const ops::Linear& operator[](Role role) const { return linears[static_cast<std::size_t>(role)]; }
};

/// Scratch memory of a forward pass; grows to the largest batch and is then reused.
struct Workspace {
  AlignedBuffer<float> normed, q, k, v, attended, branch, gate, up;
};

/// The forward pass of the Llama family, one layer at a time, so that a caller may hold one layer or all of them.
class Decoder {
 public:
  explicit Decoder(const ModelConfig& config) : config_(config) {}

  /// hidden [tokens, hidden_size] in binary32, updated in place. Positions of a slice start at its cache's length;
  /// the caller advances the lengths after the last layer.
  void forward_layer(const DecoderLayer& layer, std::int64_t layer_index, std::span<const SequenceSlice> slices,
                     float* hidden, ops::Precision precision = ops::Precision::kF32,
                     const SiteObserver& observer = nullptr);

  const ModelConfig& config() const { return config_; }

 private:
  void attend(const DecoderLayer& layer, std::int64_t layer_index, std::span<const SequenceSlice> slices,
              std::int64_t tokens);
  const ops::RopeTable& rope_table(std::int64_t length);

  ModelConfig config_;
  Workspace work_;
  ops::RopeTable table_;
  std::int64_t table_positions_ = 0;
  std::int64_t table_length_ = -1;  ///< sequence length a length-dependent table was made for
};

}  // namespace awq::model
