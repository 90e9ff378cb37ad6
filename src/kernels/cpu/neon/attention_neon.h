#pragma once

#include "kernels/api/attention.h"

namespace awq::kernels::neon {

extern const AttentionKernel kAttention;

}  // namespace awq::kernels::neon
