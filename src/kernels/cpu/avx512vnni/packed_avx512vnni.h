#pragma once

#include "kernels/api/packed.h"

namespace awq::kernels::avx512vnni {

extern const PackedKernel kI8U4Many;  ///< for many rows of inputs
extern const PackedKernel kI8U8Many;
extern const PackedKernel kI8U4;
extern const PackedKernel kI15U4;
extern const PackedKernel kI8U8;
extern const PackedKernel kI15U8;

}  // namespace awq::kernels::avx512vnni
