#pragma once

#include <string>

#include "ops/activation_precision.h"

namespace awq::ops {

/// "f32", "int8" or "int15", as --activations takes them. Throws Error{kInvalidArgument} for another name.
ActivationPrecision parse_activation_precision(const std::string& name);

}  // namespace awq::ops
