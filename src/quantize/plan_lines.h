#pragma once

#include <string>
#include <vector>

#include "awq/quantizer.h"
#include "quantize/calibration_data.h"
#include "quantize/output_plan.h"
#include "quantize/resource_plan.h"

namespace awq::quantize {

/// What a run says before it starts: what it will need and what it will do, a line each.
std::vector<std::string> plan_lines(const QuantizeOptions& options, const OutputPlan& plan,
                                    const ResourcePlan& resources, const QuantizeSummary& summary,
                                    const CalibrationBlocks& blocks, ops::Precision precision);

}  // namespace awq::quantize
