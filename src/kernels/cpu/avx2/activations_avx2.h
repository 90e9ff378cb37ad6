#pragma once

#include "kernels/api/packed.h"

namespace awq::kernels::avx2 {

extern const ActivationQuantizer kQuantizeActivations;

}  // namespace awq::kernels::avx2
