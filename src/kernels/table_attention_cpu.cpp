#include "kernels/api/attention.h"
#include "kernels/ref/attention_ref.h"
#if defined(__x86_64__)
#include "kernels/cpu/avx2/attention_avx2.h"
#include "kernels/cpu/avx512/attention_avx512.h"
#include "kernels/cpu/avx512bf16/attention_avx512bf16.h"
#elif defined(__aarch64__)
#include "kernels/cpu/neon/attention_neon.h"
#endif

namespace awq::kernels {

const AttentionKernel* attention_kernels_cpu() {
  static const AttentionKernel kTable[] = {
#if defined(__x86_64__)
    avx512bf16::kAttention,
    avx512::kAttention,
    avx2::kAttention,
#elif defined(__aarch64__)
    neon::kAttention,
#endif
    ref::kAttention,
    {nullptr, 0, false, nullptr},
  };
  return kTable;
}

}  // namespace awq::kernels
