#pragma once

#include "kernels/api/elementwise.h"

namespace awq::kernels::avx512 {

extern const ElementwiseKernel kElementwise;

}  // namespace awq::kernels::avx512
