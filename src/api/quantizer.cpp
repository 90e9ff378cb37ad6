#include "awq/quantizer.h"

#include <algorithm>

#include "api/resident_model.h"
#include "api/setup.h"
#include "base/check.h"
#include "device/device.h"
#include "gpu_quantize/quantizer_device.h"
#include "quantize/pipeline.h"
#include "quantize/quantize_run.h"

namespace awq {
namespace {

/// Number of the device to use, -1 for the processor. "auto" is the processor where a device has no part in the method.
int device_index(const QuantizeOptions& options) {
  const int index = device::parse_name(options.device);
  const bool has_part = quantize::needs_calibration(options) && options.recipe != "paper";
  return options.device == "auto" && !has_part ? -1 : index;
}

/// Both models stay on the device while the windows pass; where they do not fit, the processor goes through their
/// layers.
quantize::MeasuredScores measure_on_device(const model::ModelFiles& quantized, const model::ModelFiles& original,
                                           const eval::Windows& windows, const eval::CompareOptions& options,
                                           const std::function<void(const std::string&)>& on_warning) {
  std::size_t longest = 2;
  for (const auto& window : windows) longest = std::max(longest, window.size());
  const auto length = static_cast<std::int64_t>(longest);
  try {
    // One type for both: their difference is to be that of the weights.
    const gpu::ModelOptions same{.f32_as = gpu::f32_activation_type(original)};
    api::DeviceModel base(original, same, length);
    api::DeviceModel model(quantized, same, length);
    return {eval::compare_resident(model, &base, windows, options), "cuda"};
  } catch (const Error& error) {
    // The model is finished: no fault of a device is worth losing it for.
    const bool of_device = error.code() == ErrorCode::kOutOfMemory || error.code() == ErrorCode::kUnsupported ||
                           error.code() == ErrorCode::kDevice;
    if (!of_device) throw;
    if (on_warning) {
      on_warning(std::string("the loss is measured on the processor, which takes longer: ") + error.what());
    }
  }
  return {eval::compare(quantized, &original, windows, options), "cpu"};
}

}  // namespace

QuantizeSummary quantize_model(const QuantizeOptions& options) {
  QuantizeOptions resolved = options;
  resolved.threads = api::set_up_threads(options.threads);
  const int index = device_index(options);
  if (index < 0) return quantize::run(resolved);
  const gpu_quantize::CudaChoice choice(index);
  return quantize::run(resolved, &choice,
                       [&](const model::ModelFiles& quantized, const model::ModelFiles& original,
                           const eval::Windows& windows, const eval::CompareOptions& compare) {
                         return measure_on_device(quantized, original, windows, compare, resolved.on_warning);
                       });
}

}  // namespace awq
