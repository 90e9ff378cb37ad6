#include "kernels/cpu/avx512/elementwise_avx512.h"

#include "kernels/cpu/avx512/lanes.h"
#include "kernels/cpu/elementwise_body.h"

namespace awq::kernels::avx512 {

const ElementwiseKernel kElementwise = elementwise_kernel<V>("elementwise_avx512", 2);

}  // namespace awq::kernels::avx512
