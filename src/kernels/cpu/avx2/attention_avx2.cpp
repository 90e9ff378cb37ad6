#include "kernels/cpu/avx2/attention_avx2.h"

#include "kernels/cpu/attention_body.h"
#include "kernels/cpu/avx2/lanes.h"

namespace awq::kernels::avx2 {

const AttentionKernel kAttention = {"attention_avx2", 1, false, run_attention<V>};

}  // namespace awq::kernels::avx2
