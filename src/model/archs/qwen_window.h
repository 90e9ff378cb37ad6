#pragma once

#include <vector>

#include "model/config_reader.h"

namespace awq::model {

/// Window of each layer: layers from max_window_layers on slide when use_sliding_window is set; layer_types wins.
std::vector<std::int64_t> read_qwen_windows(const ConfigReader& in, const ModelConfig& config);

}  // namespace awq::model
