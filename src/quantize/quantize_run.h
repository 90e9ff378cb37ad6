#pragma once

#include <functional>

#include "awq/quantizer.h"
#include "eval/compare.h"
#include "quantize/layer_device.h"

namespace awq::quantize {

/// Scores of the finished model and the original on some text, taken somewhere else than on the processor.
struct MeasuredScores {
  eval::Scores scores;
  const char* device = "cpu";  ///< where they come from after all
};
using Measure = std::function<MeasuredScores(const model::ModelFiles& quantized, const model::ModelFiles& original,
                                             const eval::Windows& windows, const eval::CompareOptions& options)>;

/// The whole of `awq quantize`: plan, calibrate, quantize, write, measure, publish. See awq::quantize_model().
/// `device`, when not null, quantizes the layers, and `measure`, when there is one, takes the scores once it has gone.
QuantizeSummary run(const QuantizeOptions& options, const DeviceChoice* device = nullptr, const Measure& measure = {});

}  // namespace awq::quantize
