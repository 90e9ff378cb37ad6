#pragma once

#include <memory>
#include <string>

#include "device/device.h"
#include "gpu/step_model.h"

namespace awq::gpu {

/// Tokens that go through the model in one step unless told otherwise: enough for products that use the whole device.
inline constexpr std::int64_t kDefaultBatchedTokens = 2048;

/// Type of activations for a checkpoint whose weights are F32: what its config.json says ("torch_dtype" or "dtype")
/// when that is one of 16 bits, else BF16.
Half f32_activation_type(const model::ModelFiles& files);

/// What the flags --dtype (auto, f16, bf16, or vLLM's names) and --cuda-linear (exact, fast) say. Throws
/// kInvalidArgument for another name, and with `on_device` false for what only a device has.
ModelOptions model_options(const std::string& dtype, const std::string& cuda_linear, bool on_device = true);

/// A model ready to run steps on the open device.
std::unique_ptr<StepModel> load_step_model(const model::WeightSource& source, const ModelOptions& model,
                                           const StepOptions& options);

/// "NVIDIA H200, compute capability 9.0, 132 multiprocessors, bf16"
std::string describe(const device::Properties& device, Half type);

}  // namespace awq::gpu
