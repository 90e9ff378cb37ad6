#pragma once

#include "kernels/api/packed.h"

namespace awq::kernels::avx512vnni {

extern const PackedKernel kI8U4Pairs;  ///< for many rows of inputs

}  // namespace awq::kernels::avx512vnni
