#pragma once

#include "awq/quantizer.h"

namespace awq::quantize {

/// The whole of `awq quantize`: plan, calibrate, quantize, write, measure, publish. See awq::quantize_model().
QuantizeSummary run(const QuantizeOptions& options);

}  // namespace awq::quantize
