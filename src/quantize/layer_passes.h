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

/// True when a pass over `part` multiplies by the linears that read `input`.
bool runs(const model::LayerPart& part, model::Site input);

/// A layer that computes `part` with `weights`. Quantized linears are expanded to dense ones, bf16 where products are;
/// `weights` stays as it is.
model::DecoderLayer runnable(const model::Architecture& architecture, const model::LayerWeights& weights,
                             const model::LayerPart& part, ops::Precision precision);

/// The passes of one layer over the calibration tokens, a chunk of blocks at a time.
class LayerPasses {
 public:
  using Seen = std::function<void(const float* x, std::int64_t tokens)>;

  LayerPasses(const model::ModelConfig& config, std::int64_t index, std::int64_t blocks, std::int64_t length,
              ops::Precision precision);

  /// Runs blocks [block, block + blocks_at(block)) of `stream` through `part` of `layer`; rows() then holds the hidden
  /// states. `seen` gets the activations of `wanted`, a site within the part.
  void forward(const model::DecoderLayer& layer, const HiddenStates& stream, std::int64_t block,
               const model::LayerPart& part, std::optional<model::Site> wanted = std::nullopt,
               const Seen& seen = nullptr);
  void store(HiddenStates& stream, std::int64_t block) const;
  /// Runs `stream` through `part` of `layer`.
  void advance(const model::DecoderLayer& layer, HiddenStates& stream, const model::LayerPart& part);
  /// Gives the scratch memory back until the next pass.
  void release();

  std::int64_t blocks() const { return blocks_; }
  std::int64_t blocks_at(std::int64_t block) const { return std::min(per_chunk_, blocks_ - block); }
  std::int64_t tokens_at(std::int64_t block) const { return blocks_at(block) * length_; }
  std::int64_t per_chunk() const { return per_chunk_; }
  const AlignedBuffer<float>& rows() const { return rows_; }

 private:
  const model::ModelConfig& config_;
  model::Decoder decoder_;
  std::int64_t index_;
  std::int64_t blocks_, length_, per_chunk_;
  ops::Precision precision_;
  AlignedBuffer<float> rows_;
};

}  // namespace awq::quantize
