#pragma once

#include "kernels/api/attention.h"

namespace awq::kernels::ref {

extern const AttentionKernel kAttention;

}  // namespace awq::kernels::ref
