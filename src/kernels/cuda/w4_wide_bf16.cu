#include "kernels/cuda/w4_wide.cuh"

namespace awq::kernels::cuda {

int launch_wide_bf16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  return launch_wide_group<Half::kBf16>(launch, x, stream);
}

}  // namespace awq::kernels::cuda
