#pragma once

#include "model/model_files.h"
#include "quantize/gguf_mixture.h"

namespace awq::quantize {

/// The model that llama.cpp would make of `files` with a recipe: every linear, the embedding and the head go through
/// their GGUF type and back as they are loaded. Nothing is kept between loads, so memory is that of one layer.
class GgufModel : public model::WeightSource {
 public:
  /// `files` must be unquantized (throws kUnsupported) and outlive this object.
  GgufModel(const model::ModelFiles& files, const GgufRecipe& recipe);

  const GgufMixture& mixture() const { return mixture_; }
  const model::ModelConfig& config() const override { return files_.config(); }
  const model::Architecture& architecture() const override { return files_.architecture(); }
  model::LayerWeights load_layer(std::int64_t layer) const override;
  void embed(std::span<const std::int32_t> ids, float* out) const override;
  AlignedBuffer<float> load_final_norm() const override { return files_.load_final_norm(); }
  model::LinearWeights load_head() const override;
  model::LinearWeights load_embedding() const override;

 private:
  const model::ModelFiles& files_;
  GgufMixture mixture_;
};

}  // namespace awq::quantize
