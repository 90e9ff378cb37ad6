#pragma once

#include <optional>
#include <span>

#include "quantize/calibration_data.h"
#include "quantize/hidden_states.h"
#include "quantize/layer_passes.h"
#include "quantize/layer_runner.h"

namespace awq::quantize {

/// The passes of a layer on the processor.
class HostLayerRunner final : public LayerRunner {
 public:
  /// With two streams the second one is the original model's, whose layer is loaded here.
  HostLayerRunner(const model::ModelFiles& files, std::int64_t index, const CalibrationBlocks& blocks,
                  ops::Precision precision, std::span<HiddenStates> streams);

  std::unique_ptr<SiteSearch> observe(const SitePass& pass, const model::LayerWeights& weights) override;
  void advance(const StreamPass& pass, const model::LayerWeights* weights) override;

 private:
  const model::ModelFiles& files_;
  ops::Precision precision_;
  std::span<HiddenStates> streams_;
  LayerPasses passes_;
  std::optional<model::DecoderLayer> exact_;
};

}  // namespace awq::quantize
