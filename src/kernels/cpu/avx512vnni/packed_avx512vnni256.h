#pragma once

#include "kernels/api/packed.h"

namespace awq::kernels::avx512vnni {

extern const PackedKernel kI8U4256;
extern const PackedKernel kI15U4256;
extern const PackedKernel kI8U8256;
extern const PackedKernel kI15U8256;

}  // namespace awq::kernels::avx512vnni
