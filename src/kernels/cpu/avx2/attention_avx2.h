#pragma once

#include "kernels/api/attention.h"

namespace awq::kernels::avx2 {

extern const AttentionKernel kAttention;

}  // namespace awq::kernels::avx2
