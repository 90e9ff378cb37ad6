#include "kernels/cpu/neon/elementwise_neon.h"

#include "kernels/cpu/elementwise_body.h"
#include "kernels/cpu/neon/lanes.h"

namespace awq::kernels::neon {

const ElementwiseKernel kElementwise = elementwise_kernel<V>("elementwise_neon", 0);

}  // namespace awq::kernels::neon
