#pragma once

#include "kernels/api/packed.h"

namespace awq::kernels::neon_i8mm {

extern const PackedKernel kI8U4Many;
extern const PackedKernel kI15U4Many;
extern const PackedKernel kI8U8Many;
extern const PackedKernel kI15U8Many;

}  // namespace awq::kernels::neon_i8mm
