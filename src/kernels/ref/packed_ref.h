#pragma once

#include "kernels/api/packed.h"

namespace awq::kernels::ref {

/// The definition of packed linears, in plain loops: the judge of every other row, and what a processor without
/// vector instructions runs.
extern const PackedKernel kI8U4;
extern const PackedKernel kI15U4;
extern const PackedKernel kI8U8;
extern const PackedKernel kI15U8;
extern const PackedFloatKernel kPackedF32U4;
extern const PackedFloatKernel kPackedF32U8;
extern const ActivationQuantizer kQuantizeActivations;

}  // namespace awq::kernels::ref
