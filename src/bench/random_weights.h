#pragma once

#include <cstdint>

#include "model/model_files.h"

namespace awq::bench {

/// Weights of any configuration that exist in memory only, made layer by layer as they are asked for: speed does not
/// depend on what a model has learned. Activations stay near 1, so that no number becomes infinite or denormal.
class RandomWeights : public model::WeightSource {
 public:
  struct Options {
    int bits = 4;  ///< 2..8, or 16 for BF16
    std::int64_t group_size = 128;
    std::uint64_t seed = 1;
  };
  /// Linears whose inputs the group does not divide stay BF16, as a checkpoint would have them.
  /// Throws kInvalidArgument for bits and group sizes that no checkpoint has.
  RandomWeights(model::ConfigFile file, Options options);

  const model::ModelConfig& config() const override { return file_.config; }
  const model::Architecture& architecture() const override { return *file_.architecture; }
  model::LayerWeights load_layer(std::int64_t layer) const override;
  void embed(std::span<const std::int32_t> ids, float* out) const override;
  AlignedBuffer<float> load_final_norm() const override;
  model::LinearWeights load_head() const override;
  model::LinearWeights load_embedding() const override;

 private:
  model::LinearWeights linear(std::uint64_t seed, model::LinearShape shape, bool bias) const;

  model::ConfigFile file_;
  Options options_;
};

}  // namespace awq::bench
