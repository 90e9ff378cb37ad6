#pragma once

#include "kernels/api/packed.h"

namespace awq::kernels::neon {

extern const PackedKernel kI8U4;
extern const PackedKernel kI15U4;
extern const PackedKernel kI8U8;
extern const PackedKernel kI15U8;

}  // namespace awq::kernels::neon
