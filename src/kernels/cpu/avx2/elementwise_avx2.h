#pragma once

#include "kernels/api/elementwise.h"

namespace awq::kernels::avx2 {

extern const ElementwiseKernel kElementwise;

}  // namespace awq::kernels::avx2
