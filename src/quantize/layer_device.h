#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "awq/quantizer.h"
#include "model/model_files.h"
#include "quantize/calibration_data.h"
#include "quantize/hidden_states.h"
#include "quantize/layer_quantizer.h"
#include "quantize/layer_runner.h"
#include "quantize/output_plan.h"

namespace awq::quantize {

/// A device that runs the passes and searches of layers in the processor's place, on its own copy of the hidden states
/// that begin() gets: those change in fetch_hidden() alone.
class LayerDevice {
 public:
  LayerDevice() = default;
  LayerDevice(const LayerDevice&) = delete;
  LayerDevice& operator=(const LayerDevice&) = delete;
  virtual ~LayerDevice() = default;

  /// Once per pipeline, before all else; what it is given outlives its use. The hidden states may still be empty.
  virtual void begin(const model::ModelFiles& files, const CalibrationBlocks& blocks, ops::Precision precision,
                     std::span<HiddenStates> streams) = 0;
  /// The layer for methods that go site after site; with two streams the second one is the original model's.
  virtual std::unique_ptr<LayerRunner> layer(std::int64_t index) = 0;
  /// All sites of the original layer in one pass of the one stream, which then is past the layer. `quantized` by role:
  /// sites that none of these linears reads stay null.
  virtual LayerSites collect(std::int64_t index, const model::LayerWeights& weights,
                             const std::array<bool, model::kRoles>& quantized) = 0;
  /// Brings the hidden states of begin() up to date.
  virtual void fetch_hidden() = 0;
  /// Memory that is free, and the most that was in use at a time, in bytes.
  virtual std::uint64_t free_bytes() const = 0;
  virtual std::uint64_t peak_bytes() const = 0;
};

/// A device that a run is asked to use. To plan for it, it need not be there.
class DeviceChoice {
 public:
  DeviceChoice() = default;
  DeviceChoice(const DeviceChoice&) = delete;
  DeviceChoice& operator=(const DeviceChoice&) = delete;
  virtual ~DeviceChoice() = default;

  /// "cuda": what the journal says of layers that were quantized there.
  virtual const char* name() const = 0;
  /// Device memory that a run will need, from shapes alone. `blocks` * `length` calibration tokens.
  virtual std::uint64_t planned_bytes(const model::ModelFiles& files, const OutputPlan& plan, std::int64_t blocks,
                                      std::int64_t length, ops::Precision precision,
                                      const QuantizeOptions& options) const = 0;
  /// Throws kDevice where there is none to use.
  virtual std::unique_ptr<LayerDevice> open() const = 0;
};

}  // namespace awq::quantize
