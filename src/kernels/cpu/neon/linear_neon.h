#pragma once

#include "kernels/api/linear.h"

namespace awq::kernels::neon {

extern const LinearKernel kF32;
extern const LinearKernel kBf16;
extern const LinearKernel kF16;

}  // namespace awq::kernels::neon
