#pragma once

#include "kernels/api/packed.h"

namespace awq::kernels::neon {

extern const ActivationQuantizer kQuantizeActivations;

}  // namespace awq::kernels::neon
