#pragma once

#include <vector>

#include "awq/inspector.h"
#include "model/model_files.h"

namespace awq::api {

/// explain_kernels() for the open device: linears of the same input as one, as gpu::Model holds them.
std::vector<KernelSummary> explain_device_kernels(const model::ModelFiles& files);

}  // namespace awq::api
