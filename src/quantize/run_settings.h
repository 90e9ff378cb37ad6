#pragma once

#include <string>

#include "awq/quantizer.h"
#include "file/json.h"
#include "model/model_files.h"
#include "quantize/output_plan.h"

namespace awq::quantize {

/// Everything that the bytes of a run depend on, by the names that messages use: what a journal begins with and a
/// resumed run must have too. Texts are named by their digests; `device` is "cpu" or that of a DeviceChoice.
file::OrderedJson run_settings(const model::ModelFiles& files, const OutputPlan& plan, const QuantizeOptions& options,
                               const std::string& calibration_digest, const std::string& evaluation_digest,
                               const std::string& device);

/// The settings without those that say by which means a run goes on (device, threads, instruction set), which make a
/// difference in single codes only.
file::OrderedJson without_means(file::OrderedJson settings);

}  // namespace awq::quantize
