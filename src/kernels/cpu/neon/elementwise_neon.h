#pragma once

#include "kernels/api/elementwise.h"

namespace awq::kernels::neon {

extern const ElementwiseKernel kElementwise;

}  // namespace awq::kernels::neon
