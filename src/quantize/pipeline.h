#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "awq/quantizer.h"
#include "model/decoder.h"
#include "model/model_files.h"
#include "quantize/calibration_data.h"
#include "quantize/layer_quantizer.h"
#include "quantize/output_plan.h"
#include "text/tokenizer.h"

namespace awq::quantize {

/// Hidden states of all calibration tokens at one layer boundary, in bf16.
class HiddenStates {
 public:
  HiddenStates(std::int64_t tokens, std::int64_t width)
      : width_(width), values_(static_cast<std::size_t>(tokens * width)) {}
  std::int64_t tokens() const { return static_cast<std::int64_t>(values_.size()) / width_; }
  void load(std::int64_t begin, std::int64_t count, float* out) const;
  void store(std::int64_t begin, std::int64_t count, const float* from);
  std::span<const std::byte> bytes() const { return values_.bytes(); }
  std::span<std::byte> bytes() { return std::as_writable_bytes(values_.span()); }

 private:
  std::int64_t width_;
  AlignedBuffer<Bf16> values_;
};

/// Runs calibration and quantizes layer after layer. Holds one layer at a time; what to do with a finished layer is the
/// caller's business (write it, keep it in memory).
class LayerPipeline {
 public:
  /// `blocks` is empty (count 0) for plain rounding without calibration.
  LayerPipeline(const model::ModelFiles& files, const OutputPlan& plan, const QuantizeOptions& options,
                CalibrationBlocks blocks, ops::Precision precision);

  /// Hidden states that enter the next layer.
  HiddenStates& hidden() { return hidden_; }
  bool calibrates() const { return blocks_.count > 0; }
  /// Fills the hidden states from the embedding; call before the first layer of a fresh run.
  void embed();

  struct Result {
    model::LayerWeights weights;  ///< quantized and folded
    LayerReport report;
  };
  /// Quantizes layer `index` and advances the hidden states past it. The original weights produce what the next layer
  /// is calibrated on.
  Result run_layer(std::int64_t index);

 private:
  LayerStatistics collect(std::int64_t index, model::LayerWeights& weights);

  const model::ModelFiles& files_;
  const OutputPlan& plan_;
  const QuantizeOptions& options_;
  CalibrationBlocks blocks_;
  ops::Precision precision_;
  HiddenStates hidden_;
};

/// bf16 products where the weights are BF16 and the processor has them, binary32 elsewhere (F16 never goes to bf16).
ops::Precision calibration_precision(const model::ModelFiles& files);

/// Calibration text of the options, split from its held-out tenth when quality will be measured.
struct CalibrationText {
  CalibrationSplit split;
  std::string name;  ///< "the default calibration text" or the path
};
CalibrationText load_calibration_text(const QuantizeOptions& options);

}  // namespace awq::quantize
