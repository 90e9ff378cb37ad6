#pragma once

#include "kernels/api/packed.h"

namespace awq::kernels::neon {

extern const PackedFloatKernel kPackedF32U4;
extern const PackedFloatKernel kPackedF32U8;

}  // namespace awq::kernels::neon
