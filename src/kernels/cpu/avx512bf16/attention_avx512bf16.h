#pragma once

#include "kernels/api/attention.h"

namespace awq::kernels::avx512bf16 {

extern const AttentionKernel kAttention;

}  // namespace awq::kernels::avx512bf16
