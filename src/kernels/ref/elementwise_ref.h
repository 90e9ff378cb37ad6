#pragma once

#include "kernels/api/elementwise.h"

namespace awq::kernels::ref {

extern const ElementwiseKernel kElementwise;

}  // namespace awq::kernels::ref
