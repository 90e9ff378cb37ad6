#include "kernels/cuda/w4_many.cuh"

namespace awq::kernels::cuda {

int launch_many_bf16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  return launch_many_group<Half::kBf16>(launch, x, stream);
}

}  // namespace awq::kernels::cuda
