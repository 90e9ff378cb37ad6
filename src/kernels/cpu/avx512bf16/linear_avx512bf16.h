#pragma once

#include "kernels/api/linear.h"

namespace awq::kernels::avx512bf16 {

extern const LinearKernel kBf16;

}  // namespace awq::kernels::avx512bf16
