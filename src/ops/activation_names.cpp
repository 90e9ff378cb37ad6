#include "ops/activation_names.h"

#include "base/check.h"

namespace awq::ops {

ActivationPrecision parse_activation_precision(const std::string& name) {
  if (name == "f32") return ActivationPrecision::kF32;
  if (name == "int8") return ActivationPrecision::kInt8;
  if (name == "int15") return ActivationPrecision::kInt15;
  if (name == "bf16" || name == "f16") {
    fail(ErrorCode::kInvalidArgument,
         "--activations {}: expected f32, int8 or int15; int15 takes its place: more exact, and as fast "
         "(docs/numerics.md, \"Integer activations\")",
         name);
  }
  fail(ErrorCode::kInvalidArgument, "--activations {}: expected f32, int8 or int15", printable(name));
}

}  // namespace awq::ops
