#pragma once

#include <cstdint>

#include "gpu_quantize/layer_forward.h"
#include "quant/scheme.h"

namespace awq::gpu_quantize {

/// The most device memory that quantizing holds at a time, from shapes alone: streams of hidden states, and over all
/// sites of a layer what their passes and their search need. What the driver keeps for itself is not in it.
std::uint64_t plan_device_bytes(const model::ModelConfig& config, const model::Architecture& architecture,
                                const PassShape& shape, int streams, bool in_sequence, const quant::Scheme& scheme);

}  // namespace awq::gpu_quantize
