#include "kernels/cpu/avx512/attention_avx512.h"

#include "kernels/cpu/attention_body.h"
#include "kernels/cpu/avx512/lanes.h"

namespace awq::kernels::avx512 {

const AttentionKernel kAttention = {"attention_avx512", 2, false, run_attention<V>};

}  // namespace awq::kernels::avx512
