#pragma once

#include "kernels/api/linear.h"

namespace awq::kernels::ref {

/// The scalar definition of each weight kind: the judge of every faster row.
extern const LinearKernel kF32;
extern const LinearKernel kBf16;
extern const LinearKernel kF16;

}  // namespace awq::kernels::ref
