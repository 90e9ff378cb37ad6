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
#include "quantize/hidden_states.h"
#include "quantize/layer_device.h"
#include "quantize/layer_quantizer.h"
#include "quantize/output_plan.h"
#include "text/tokenizer.h"

namespace awq::quantize {

/// Runs calibration and quantizes layer after layer. Holds one layer at a time; what to do with a finished layer is the
/// caller's business (write it, keep it in memory).
class LayerPipeline {
 public:
  /// `blocks` is empty (count 0) for plain rounding without calibration. Methods whose layers follow the errors of
  /// those before them carry the hidden states of the quantized model, and with targets to correct those of the
  /// original too.
  /// `device`, when not null, does the work that it can; it outlives this object.
  LayerPipeline(const model::ModelFiles& files, const OutputPlan& plan, const QuantizeOptions& options,
                CalibrationBlocks blocks, ops::Precision precision, LayerDevice* device = nullptr);

  /// Hidden states that enter the next layer: one stream, or two with the original model's second.
  std::span<HiddenStates> streams() { return streams_; }
  bool calibrates() const { return blocks_.count > 0; }
  /// Fills the hidden states from the embedding; call before the first layer of a fresh run.
  void embed();

  struct Result {
    model::LayerWeights weights;  ///< quantized and folded
    LayerReport report;
  };
  /// Quantizes layer `index` and advances the hidden states past it; where a device does that, streams() stays as it is
  /// until fetch_hidden().
  Result run_layer(std::int64_t index);
  void fetch_hidden();

 private:
  /// All sites of the original layer in one pass; advances the one stream.
  /// `sampled`, when not null, gets the activations of every paper_clip_step()-th token.
  LayerStatistics collect(std::int64_t index, model::LayerWeights& weights,
                          std::array<std::vector<float>, model::kSites>* sampled = nullptr);
  /// Site after site, each with the activations that the linears before it give as they were quantized.
  LayerReport run_in_sequence(std::int64_t index, const LayerPlan& plan, model::LayerWeights& weights);
  /// AutoAWQ's procedure: all scales by module loss on the original layer, then clipping, then rounding.
  LayerReport run_as_published(std::int64_t index, const LayerPlan& plan, model::LayerWeights& weights);
  LayerPlan layer_plan(std::int64_t index) const;
  void check_weights(std::int64_t index, const model::LayerWeights& weights) const;

  const model::ModelFiles& files_;
  const OutputPlan& plan_;
  const QuantizeOptions& options_;
  CalibrationBlocks blocks_;
  ops::Precision precision_;
  LayerDevice* device_;
  std::vector<HiddenStates> streams_;
};

/// False for methods that only round: they need no text.
bool needs_calibration(const QuantizeOptions& options);

/// Throws kInvalidArgument where a device (by its name) has no part in the method.
void check_device_method(const QuantizeOptions& options, const std::string& device);

/// How many streams of hidden states a method carries from layer to layer.
int stream_count(const QuantizeOptions& options);
/// True when every site sees what the linears before it became.
bool quantizes_in_sequence(const QuantizeOptions& options);

/// bf16 products where the weights are BF16 and the processor (or the device, which always has them) can compute them,
/// binary32 elsewhere (F16 never goes to bf16).
ops::Precision calibration_precision(const model::ModelFiles& files, bool on_device = false);

/// Calibration text of the options, split from its held-out tenth when quality will be measured.
struct CalibrationText {
  CalibrationSplit split;
  std::string name;  ///< "the default calibration text" or the path
};
CalibrationText load_calibration_text(const QuantizeOptions& options);

}  // namespace awq::quantize
