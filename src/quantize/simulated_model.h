#pragma once

#include <cstdint>
#include <vector>

#include "awq/quantizer.h"
#include "model/model_files.h"

namespace awq::quantize {

/// A model that is quantized in memory as options say and written nowhere: the same weights that a checkpoint would
/// hold, for bits and formats that no file can store as well.
class SimulatedModel : public model::WeightSource {
 public:
  /// Runs the quantizer over all layers; `files` must outlive this object.
  SimulatedModel(const model::ModelFiles& files, const QuantizeOptions& options);

  const model::ModelConfig& config() const override { return files_.config(); }
  const model::Architecture& architecture() const override { return files_.architecture(); }
  model::LayerWeights load_layer(std::int64_t layer) const override;
  void embed(std::span<const std::int32_t> ids, float* out) const override { files_.embed(ids, out); }
  AlignedBuffer<float> load_final_norm() const override { return files_.load_final_norm(); }
  model::LinearWeights load_head() const override { return files_.load_head(); }
  model::LinearWeights load_embedding() const override { return files_.load_embedding(); }

 private:
  const model::ModelFiles& files_;
  std::vector<model::LayerWeights> layers_;
};

}  // namespace awq::quantize
