#include "kernels/cuda/w4_many.cuh"

namespace awq::kernels::cuda {

int launch_many_f16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  return launch_many_group<Half::kF16>(launch, x, stream);
}

}  // namespace awq::kernels::cuda
