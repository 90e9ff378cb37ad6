#pragma once

#include "kernels/api/linear.h"

namespace awq::kernels::avx512 {

extern const LinearKernel kF32;
extern const LinearKernel kBf16;
extern const LinearKernel kF16;

}  // namespace awq::kernels::avx512
