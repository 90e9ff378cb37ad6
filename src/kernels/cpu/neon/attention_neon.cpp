#include "kernels/cpu/neon/attention_neon.h"

#include "kernels/cpu/attention_body.h"
#include "kernels/cpu/neon/lanes.h"

namespace awq::kernels::neon {

const AttentionKernel kAttention = {"attention_neon", 0, false, run_attention<V>};

}  // namespace awq::kernels::neon
