#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

#include "base/stop.h"
#include "model/decoder.h"
#include "quantize/activation_stats.h"
#include "quantize/hidden_states.h"
#include "quantize/resource_plan.h"
#include "quantize/target_correction.h"

namespace awq::quantize {

/// A layer that computes with `weights` up to the activations of `last`, or all of it. Quantized linears are expanded
/// to dense ones, bf16 where products are; `weights` stays as it is.
model::DecoderLayer runnable(const model::Architecture& architecture, const model::LayerWeights& weights,
                             std::optional<model::Site> last, ops::Precision precision);

/// The passes of one layer over the calibration tokens, a chunk of blocks at a time.
class LayerPasses {
 public:
  using Seen = std::function<void(const float* x, std::int64_t tokens)>;

  LayerPasses(const model::ModelConfig& config, std::int64_t index, std::int64_t blocks, std::int64_t length,
              ops::Precision precision);

  /// Runs blocks [block, block + blocks_at(block)) of `stream` through `layer` up to `last` (all of it when empty);
  /// rows() then holds the hidden states. `seen` gets the activations of `wanted`, by default those of `last`.
  void forward(const model::DecoderLayer& layer, const HiddenStates& stream, std::int64_t block,
               std::optional<model::Site> last, const Seen& seen, std::optional<model::Site> wanted = std::nullopt);
  void store(HiddenStates& stream, std::int64_t block) const;
  /// Runs `stream` through the whole layer.
  void advance(const model::DecoderLayer& layer, HiddenStates& stream);

  std::int64_t blocks() const { return blocks_; }
  std::int64_t blocks_at(std::int64_t block) const { return std::min(per_chunk_, blocks_ - block); }
  std::int64_t tokens_at(std::int64_t block) const { return blocks_at(block) * length_; }
  std::int64_t per_chunk() const { return per_chunk_; }
  const AlignedBuffer<float>& rows() const { return rows_; }

 private:
  model::Decoder decoder_;
  std::int64_t index_;
  std::int64_t blocks_, length_, per_chunk_;
  ops::Precision precision_;
  AlignedBuffer<float> rows_;
};

}  // namespace awq::quantize
