#include "kernels/cuda/w4_wgmma.h"

#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/cuda/w4_kernels.h"

/// Host side of the Hopper kernel: the map of the activations, the shape of the launch.
namespace awq::kernels::cuda {
namespace {

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                 const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/// From the driver at run time, so that the program links without one.
EncodeTiled encode_tiled() {
  static const EncodeTiled function = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
    cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault, &found);
#else
    cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &entry, cudaEnableDefault, &found);
#endif
    return found == cudaDriverEntryPointSuccess ? reinterpret_cast<EncodeTiled>(entry) : nullptr;
  }();
  return function;
}

int group_of(const W4Layout& layout) { return 128 / static_cast<int>(layout.step_groups()); }

}  // namespace

bool wgmma_map(const W4Problem& problem, int tokens, CUtensorMap& map) {
  const EncodeTiled encode = encode_tiled();
  if (encode == nullptr) return false;
  const cuuint64_t sizes[2] = {static_cast<cuuint64_t>(problem.layout.k), static_cast<cuuint64_t>(problem.m)};
  const cuuint64_t pitch[1] = {static_cast<cuuint64_t>(problem.layout.k) * 2};
  const cuuint32_t box[2] = {64, static_cast<cuuint32_t>(tokens)};
  const cuuint32_t steps[2] = {1, 1};
  return encode(&map, problem.type == Half::kF16 ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                2, const_cast<void*>(problem.x), sizes, pitch, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

const char* wgmma_device_objection(const DeviceLimits& limits) {
  if (limits.capability != 90) return "needs compute capability 9.0";
  if (encode_tiled() == nullptr) return "the driver has no tensor maps";
  return nullptr;
}

WgmmaLaunch wgmma_launch(const W4Problem& problem, int tokens) {
  WgmmaLaunch launch;
  launch.type = problem.type;
  launch.tokens = tokens;
  launch.group_size = group_of(problem.layout);
  WgmmaArgs& args = launch.args;
  args.weight = static_cast<const std::uint8_t*>(problem.weight);
  args.y = problem.y;
  args.bias = problem.bias;
  args.ready = static_cast<std::uint32_t*>(problem.workspace);
  args.partial = reinterpret_cast<float4*>(static_cast<std::uint8_t*>(problem.workspace) + kWgmmaFlagBytes);
  args.n = static_cast<std::int32_t>(problem.layout.n);
  args.m = static_cast<std::int32_t>(problem.m);
  args.steps = static_cast<std::int32_t>(problem.layout.steps());
  args.leaves = w4_leaves(problem.layout.k);
  args.token_tiles = (args.m + tokens - 1) / tokens;
  return launch;
}

const char* shared_tiles_objection(const W4Problem& problem, const DeviceLimits& limits, const WgmmaTile& tile,
                                   int blocks) {
  if (const char* objection = wgmma_device_objection(limits)) return objection;
  if (problem.workspace == nullptr) return "needs a workspace";
  if (tile.warpgroups() * sizeof(std::uint32_t) * limits.multiprocessors > kWgmmaFlagBytes) {
    return "more multiprocessors than flags";
  }
  if (blocks == 1) return nullptr;
  if (blocks > w4_leaves(problem.layout.k)) return "K has fewer leaves than a tile has blocks";
  // Blocks of a tile wait for each other, so all have to run at once.
  if (tile.tiles(problem.layout, problem.m) * blocks > limits.multiprocessors) {
    return "more blocks than multiprocessors";
  }
  return nullptr;
}

std::uint64_t shared_tiles_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits,
                                     const WgmmaTile& tile, int blocks) {
  if (limits.capability != 90) return 0;
  const std::int64_t bytes = static_cast<std::int64_t>(tile.tokens) * tile.rows * 4;
  if (blocks == 1) return kWgmmaFlagBytes + static_cast<std::uint64_t>(limits.multiprocessors * bytes);
  // Of all numbers of tokens up to m, the largest that shares its tiles.
  const std::int64_t columns = tile.columns(layout);
  const std::int64_t most = limits.multiprocessors / blocks / columns * columns;
  const std::int64_t tiles = std::min(tile.tiles(layout, m), most);
  return tiles == 0 ? 0 : kWgmmaFlagBytes + static_cast<std::uint64_t>(tiles * w4_leaves(layout.k) * bytes);
}

WgmmaLaunch shared_tiles_launch(const W4Problem& problem, const WgmmaTile& tile, int blocks) {
  WgmmaLaunch launch = wgmma_launch(problem, tile.tokens);
  launch.args.columns = static_cast<std::int32_t>(tile.columns(problem.layout));
  launch.args.cluster = blocks;
  launch.args.sharing = blocks > 1 ? WgmmaSharing::kSplit : WgmmaSharing::kStripes;
  launch.blocks = launch.args.columns * launch.args.token_tiles * blocks;
  return launch;
}

const char* wgmma_objection(const W4Problem& problem, const DeviceLimits& limits) {
  if (const char* objection = wgmma_device_objection(limits)) return objection;
  return problem.workspace == nullptr ? "needs a workspace" : nullptr;
}

std::uint64_t wgmma_workspace(const W4Layout& /*layout*/, std::int64_t /*m*/, const DeviceLimits& limits) {
  if (limits.capability != 90) return 0;
  return kWgmmaFlagBytes + static_cast<std::uint64_t>(limits.multiprocessors) * 128 * 128 * 4;
}

int wgmma_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int tokens, bool pairs) {
  CUtensorMap map;
  if (!wgmma_map(problem, tokens, map)) return cudaErrorInvalidValue;
  WgmmaLaunch launch = wgmma_launch(problem, tokens);
  WgmmaArgs& args = launch.args;
  args.sharing = pairs ? WgmmaSharing::kStripesPairs : WgmmaSharing::kStripes;
  args.cluster = pairs ? 2 : 1;
  const int row_tiles = (args.n + 127) / 128;
  args.columns = (row_tiles + args.cluster - 1) / args.cluster;
  launch.blocks = wgmma_workers(args, limits.multiprocessors / args.cluster) * args.cluster;
  return problem.type == Half::kF16 ? launch_wgmma_f16(launch, map, stream) : launch_wgmma_bf16(launch, map, stream);
}

}  // namespace awq::kernels::cuda
