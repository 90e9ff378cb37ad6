#pragma once

#include "awq/quantizer.h"
#include "quantize/layer_device.h"

namespace awq::quantize {

/// The whole of `awq quantize`: plan, calibrate, quantize, write, measure, publish. See awq::quantize_model().
/// `device`, when not null, quantizes the layers.
QuantizeSummary run(const QuantizeOptions& options, const DeviceChoice* device = nullptr);

}  // namespace awq::quantize
