#pragma once

#include <optional>
#include <span>

#include "gpu_quantize/layer_forward.h"
#include "gpu_quantize/site_sums.h"
#include "quantize/layer_runner.h"

namespace awq::gpu_quantize {

/// The passes of a layer on the device.
class DeviceLayerRunner final : public quantize::LayerRunner {
 public:
  /// With two streams, bf16 [tokens, hidden_size] each, the second one is the original model's, whose layer is loaded.
  DeviceLayerRunner(Queue& queue, const model::ModelFiles& files, std::int64_t index, const PassShape& shape,
                    std::span<Array<std::uint16_t>> streams);

  std::unique_ptr<quantize::SiteSearch> observe(const quantize::SitePass& pass,
                                                const model::LayerWeights& weights) override;
  void advance(const quantize::StreamPass& pass, const model::LayerWeights* weights) override;

 private:
  /// The original model's activations and residual stream at a site, for one chunk.
  struct Kept {
    Array<float> inputs, residual, weighted, weights;
  };
  void keep(Kept& kept, const float* x, std::int64_t tokens, std::int64_t width, bool with_residual);
  void add(Kept& kept, const float* x, std::int64_t tokens, bool with_residual, SiteSums& sums);

  Queue& queue_;
  const model::ModelFiles& files_;
  PassShape shape_;
  std::span<Array<std::uint16_t>> streams_;
  LayerForward forward_;
  std::optional<DeviceLayer> exact_;
};

}  // namespace awq::gpu_quantize
