#include "kernels/api/elementwise.h"
#include "kernels/ref/elementwise_ref.h"
#if defined(__x86_64__)
#include "kernels/cpu/avx2/elementwise_avx2.h"
#include "kernels/cpu/avx512/elementwise_avx512.h"
#elif defined(__aarch64__)
#include "kernels/cpu/neon/elementwise_neon.h"
#endif

namespace awq::kernels {

const ElementwiseKernel* elementwise_kernels_cpu() {
  static const ElementwiseKernel kTable[] = {
#if defined(__x86_64__)
    avx512::kElementwise,
    avx2::kElementwise,
#elif defined(__aarch64__)
    neon::kElementwise,
#endif
    ref::kElementwise,
    {nullptr, 0, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr},
  };
  return kTable;
}

}  // namespace awq::kernels
