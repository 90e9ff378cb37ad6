#pragma once

#include <vector>

#include "gpu_quantize/layer_forward.h"
#include "quantize/layer_device.h"

namespace awq::gpu_quantize {

/// Quantizing on the device that device::open() chose: calibration passes, statistics and searches of one layer at a
/// time. The hidden states of all calibration tokens lie there.
class QuantizerDevice final : public quantize::LayerDevice {
 public:
  void begin(const model::ModelFiles& files, const quantize::CalibrationBlocks& blocks, ops::Precision precision,
             std::span<quantize::HiddenStates> streams) override;
  std::unique_ptr<quantize::LayerRunner> layer(std::int64_t index) override;
  quantize::LayerSites collect(std::int64_t index, const model::LayerWeights& weights,
                               const std::array<bool, model::kRoles>& quantized) override;
  void fetch_hidden() override;
  std::uint64_t free_bytes() const override { return device::memory().free_bytes; }
  std::uint64_t peak_bytes() const override { return device::peak_buffer_bytes(); }

 private:
  void upload_streams();

  Queue queue_;
  const model::ModelFiles* files_ = nullptr;
  PassShape shape_;
  std::span<quantize::HiddenStates> streams_;
  std::vector<Array<std::uint16_t>> streams_there_;  ///< none before the first layer
};

/// NVIDIA device number `index`.
class CudaChoice final : public quantize::DeviceChoice {
 public:
  explicit CudaChoice(int index) : index_(index) {}
  const char* name() const override { return "cuda"; }
  std::uint64_t planned_bytes(const model::ModelFiles& files, const quantize::OutputPlan& plan, std::int64_t blocks,
                              std::int64_t length, ops::Precision precision,
                              const QuantizeOptions& options) const override;
  std::unique_ptr<quantize::LayerDevice> open() const override;

 private:
  int index_;
};

}  // namespace awq::gpu_quantize
