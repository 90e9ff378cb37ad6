#include "awq/quantizer.h"

#include "api/setup.h"
#include "quantize/quantize_run.h"

namespace awq {

QuantizeSummary quantize_model(const QuantizeOptions& options) {
  QuantizeOptions resolved = options;
  resolved.threads = api::set_up_threads(options.threads);
  return quantize::run(resolved);
}

}  // namespace awq
