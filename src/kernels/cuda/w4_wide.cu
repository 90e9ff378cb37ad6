#include "kernels/cuda/w4_wide.h"

#include <cuda_runtime.h>

#include <algorithm>

/// Host side of the wide form of the Hopper kernel.
namespace awq::kernels::cuda {
namespace {

std::int64_t columns_of(const W4Layout& layout) { return (layout.n + kWideRows - 1) / kWideRows; }
std::int64_t tiles_of(const W4Layout& layout, std::int64_t m, int tokens) {
  return columns_of(layout) * ((m + tokens - 1) / tokens);
}

}  // namespace

const char* wide_objection(const W4Problem& problem, const DeviceLimits& limits, int tokens, int blocks) {
  if (const char* objection = wgmma_device_objection(limits)) return objection;
  if (problem.workspace == nullptr) return "needs a workspace";
  if (kWideWarpgroups * sizeof(std::uint32_t) * limits.multiprocessors > kWgmmaFlagBytes) {
    return "more multiprocessors than flags";
  }
  if (blocks == 1) return nullptr;
  if (blocks > w4_leaves(problem.layout.k)) return "K has fewer leaves than a tile has blocks";
  // Blocks of a tile wait for each other, so all have to run at once.
  if (tiles_of(problem.layout, problem.m, tokens) * blocks > limits.multiprocessors) {
    return "more blocks than multiprocessors";
  }
  return nullptr;
}

std::uint64_t wide_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits, int tokens,
                             int blocks) {
  if (limits.capability != 90) return 0;
  const std::int64_t tile = static_cast<std::int64_t>(tokens) * kWideRows * 4;
  if (blocks == 1) return kWgmmaFlagBytes + static_cast<std::uint64_t>(limits.multiprocessors * tile);
  // Of all numbers of tokens up to m, the largest that shares its tiles.
  const std::int64_t most = limits.multiprocessors / blocks / columns_of(layout) * columns_of(layout);
  const std::int64_t tiles = std::min(tiles_of(layout, m, tokens), most);
  return tiles == 0 ? 0 : kWgmmaFlagBytes + static_cast<std::uint64_t>(tiles * w4_leaves(layout.k) * tile);
}

int wide_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int tokens, int blocks) {
  CUtensorMap map;
  if (!wgmma_map(problem, tokens, map)) return cudaErrorInvalidValue;
  WgmmaLaunch launch = wgmma_launch(problem, tokens);
  WgmmaArgs& args = launch.args;
  args.columns = static_cast<std::int32_t>(columns_of(problem.layout));
  args.cluster = blocks;
  if (blocks > 1) {
    args.sharing = WgmmaSharing::kSplit;
    launch.blocks = args.columns * args.token_tiles * blocks;
  } else {
    args.sharing = WgmmaSharing::kStripes;
    launch.blocks = wide_workers(args, limits.multiprocessors);
  }
  return problem.type == Half::kF16 ? launch_wide_f16(launch, map, stream) : launch_wide_bf16(launch, map, stream);
}

}  // namespace awq::kernels::cuda
