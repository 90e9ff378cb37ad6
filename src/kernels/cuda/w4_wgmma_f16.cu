#include "kernels/cuda/w4_wgmma.cuh"

namespace awq::kernels::cuda {

int launch_wgmma_f16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  switch (launch.group_size) {
    case 32:
      return launch_wgmma_tokens<Half::kF16, 32>(launch, x, stream);
    case 64:
      return launch_wgmma_tokens<Half::kF16, 64>(launch, x, stream);
    default:
      return launch_wgmma_tokens<Half::kF16, 128>(launch, x, stream);
  }
}

}  // namespace awq::kernels::cuda
