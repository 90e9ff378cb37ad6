#include "kernels/cuda/w4_many.h"

#include <cuda_runtime.h>

/// Host side of the form of the Hopper kernel for many tokens.
namespace awq::kernels::cuda {
namespace {

constexpr WgmmaTile kTile{kManyTokens, kManyRows};

}  // namespace

const char* many_objection(const W4Problem& problem, const DeviceLimits& limits, int blocks) {
  return shared_tiles_objection(problem, limits, kTile, blocks);
}

std::uint64_t many_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits, int blocks) {
  return shared_tiles_workspace(layout, m, limits, kTile, blocks);
}

int many_run(const W4Problem& problem, const DeviceLimits& /*limits*/, Stream stream, int blocks) {
  CUtensorMap map;
  if (!wgmma_map(problem, kManyTokens, map)) return cudaErrorInvalidValue;
  const WgmmaLaunch launch = shared_tiles_launch(problem, kTile, blocks);
  return problem.type == Half::kF16 ? launch_many_f16(launch, map, stream) : launch_many_bf16(launch, map, stream);
}

}  // namespace awq::kernels::cuda
