#pragma once

#include <functional>
#include <initializer_list>
#include <optional>

#include "gpu_quantize/layer_weights.h"

namespace awq::gpu_quantize {

/// What passes of all layers share: the shape of the calibration tokens.
struct PassShape {
  std::int64_t blocks = 0, length = 0;
  bool bf16 = false;  ///< products take bf16, as model::Decoder's with Precision::kBf16
};

/// The forward pass of model/decoder.cpp on the device, over a chunk of whole blocks: binary32 but for the inputs of
/// products.
class LayerForward {
 public:
  LayerForward(Queue& queue, const model::ModelConfig& config, std::int64_t layer, const PassShape& shape);

  /// Runs blocks [block, block + blocks_at(block)) of `stream`, bf16 [tokens of all blocks, hidden_size], through
  /// `part` of the layer; hidden() then holds their hidden states. `seen` gets the activations of every site on the
  /// way.
  void run(const DeviceLayer& layer, const std::uint16_t* stream, std::int64_t block, const model::LayerPart& part,
           const std::function<void(model::Site, const float*, std::int64_t)>& seen);
  /// The hidden states go back into the stream.
  void store(std::uint16_t* stream, std::int64_t block) const;
  /// Gives the scratch memory back until the next pass.
  void release() { work_ = {}; }

  std::int64_t blocks() const { return shape_.blocks; }
  std::int64_t per_chunk() const { return per_chunk_; }
  std::int64_t tokens_at(std::int64_t block) const;
  const float* hidden() const { return work_.hidden.data(); }

  /// Bytes of scratch memory for chunks of this shape.
  static std::uint64_t bytes(const model::ModelConfig& config, const PassShape& shape);

 private:
  struct Work {
    Array<float> hidden, normed, q, k, v, attended, branch, gate, up;
    Array<std::uint16_t> rounded;
  };
  void project(const DeviceLayer& layer, std::initializer_list<model::Role> roles, const float* x, std::int64_t tokens,
               std::initializer_list<float*> ys);
  void attend(const DeviceLayer& layer, std::int64_t tokens);

  Queue& queue_;
  const model::ModelConfig& config_;
  std::int64_t window_;
  PassShape shape_;
  std::int64_t per_chunk_;
  Array<float> cosines_, sines_;
  Work work_;
};

/// Blocks that go through a layer at a time.
std::int64_t blocks_per_chunk(const PassShape& shape);

}  // namespace awq::gpu_quantize
