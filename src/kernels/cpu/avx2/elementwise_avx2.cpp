#include "kernels/cpu/avx2/elementwise_avx2.h"

#include "kernels/cpu/avx2/lanes.h"
#include "kernels/cpu/elementwise_body.h"

namespace awq::kernels::avx2 {

const ElementwiseKernel kElementwise = elementwise_kernel<V>("elementwise_avx2", 1);

}  // namespace awq::kernels::avx2
