#include "awq/quantizer.h"

#include "api/setup.h"
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

}  // namespace

QuantizeSummary quantize_model(const QuantizeOptions& options) {
  QuantizeOptions resolved = options;
  resolved.threads = api::set_up_threads(options.threads);
  const int index = device_index(options);
  if (index < 0) return quantize::run(resolved);
  const gpu_quantize::CudaChoice choice(index);
  return quantize::run(resolved, &choice);
}

}  // namespace awq
