#include "kernels/cuda/w4_wide.h"

#include <cuda_runtime.h>

/// Host side of the wide form of the Hopper kernel.
namespace awq::kernels::cuda {

const char* wide_objection(const W4Problem& problem, const DeviceLimits& limits, int tokens, int blocks) {
  return shared_tiles_objection(problem, limits, {tokens, kWideRows}, blocks);
}

std::uint64_t wide_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits, int tokens,
                             int blocks) {
  return shared_tiles_workspace(layout, m, limits, {tokens, kWideRows}, blocks);
}

int wide_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int tokens, int blocks) {
  CUtensorMap map;
  if (!wgmma_map(problem, tokens, map)) return cudaErrorInvalidValue;
  WgmmaLaunch launch = shared_tiles_launch(problem, {tokens, kWideRows}, blocks);
  if (blocks == 1) launch.blocks = wide_workers(launch.args, limits.multiprocessors);
  return problem.type == Half::kF16 ? launch_wide_f16(launch, map, stream) : launch_wide_bf16(launch, map, stream);
}

}  // namespace awq::kernels::cuda
