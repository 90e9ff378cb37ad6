#include "ops/activation_precision.h"

#include "base/cpu_features.h"

namespace awq::ops {
namespace {

ActivationPrecision& process_precision() {
  static ActivationPrecision precision = ActivationPrecision::kF32;
  return precision;
}

}  // namespace

void set_activation_precision(ActivationPrecision precision) { process_precision() = precision; }
ActivationPrecision activation_precision() { return process_precision(); }
bool rounds_to_bf16() { return activation_precision() == ActivationPrecision::kInt8 && has_native_bf16(); }

}  // namespace awq::ops
