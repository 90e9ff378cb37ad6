#include <cuda_runtime.h>

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/w4_kernels.h"
#include "kernels/cuda/w4_mma.cuh"

/// Host side: the shape of the ring and of the launch.
namespace awq::kernels::cuda {
namespace {

constexpr std::uint64_t kCounterBytes = 4096;  ///< of the workspace; other kernels keep their zeros there as well
constexpr int kMostStages = 8;

int group_of(const W4Layout& layout) { return 128 / static_cast<int>(layout.step_groups()); }

/// How many blocks share a multiprocessor, and stages of a block's ring.
struct Ring {
  int together = 1;
  int stages = 0;
};
Ring ring_of(int tokens, int group_size, const DeviceLimits& limits) {
  const int stage = MmaMemory{tokens, group_size}.stage_bytes();
  // Where copies do not run beside the kernel, more stages are of no use, and a second block is all that runs
  // meanwhile.
  const bool plain = limits.capability < 80;
  const int most = plain ? 2 : kMostStages;
  const int least = plain ? 2 : 3;
  // Sums of 64 tokens leave no registers for a second block. The system keeps 1 KB of each block's memory.
  const int half = (limits.shared_bytes + 1024) / 2 - 1024;
  if (tokens <= 32 && half / stage >= least) return {2, std::min(half / stage, most)};
  return {1, std::min(limits.shared_bytes / stage, most)};
}

/// Blocks that share the leaves of a tile: as many as still run all at once.
int parts_of(std::int64_t tiles, int leaves, int together, const DeviceLimits& limits) {
  int parts = 1;
  while (parts < leaves && tiles * parts * 2 <= static_cast<std::int64_t>(limits.multiprocessors) * together) {
    parts *= 2;
  }
  return tiles <= static_cast<std::int64_t>(kCounterBytes / 4) ? parts : 1;
}

struct MmaLaunch {
  MmaArgs args;
  int tokens = 0;  ///< of a tile: 8, 16, 32, 64
  int group_size = 128;
  int shared_bytes = 0;
};

template <Half kType, int kGroup, int kBlocks>
int launch_mma(const MmaLaunch& launch, Stream stream) {
  constexpr auto kKernel = w4_mma_kernel<kType, kGroup, kBlocks>;
  if (const int status = allow_shared_bytes<kKernel>(launch.shared_bytes); status != 0) return status;
  const dim3 grid(static_cast<unsigned>(launch.args.strips * launch.args.token_tiles), 1,
                  static_cast<unsigned>(launch.args.parts));
  return cuda::launch(kKernel, grid, kMmaWarps * 32, static_cast<std::size_t>(launch.shared_bytes), stream, 1,
                      launch.args);
}

template <Half kType, int kGroup>
int launch_mma_tokens(const MmaLaunch& launch, Stream stream) {
  switch (launch.tokens) {
    case 8:
      return launch_mma<kType, kGroup, 1>(launch, stream);
    case 16:
      return launch_mma<kType, kGroup, 2>(launch, stream);
    case 32:
      return launch_mma<kType, kGroup, 4>(launch, stream);
    default:
      return launch_mma<kType, kGroup, 8>(launch, stream);
  }
}

template <Half kType>
int launch_mma_group(const MmaLaunch& launch, Stream stream) {
  switch (launch.group_size) {
    case 32:
      return launch_mma_tokens<kType, 32>(launch, stream);
    case 64:
      return launch_mma_tokens<kType, 64>(launch, stream);
    default:
      return launch_mma_tokens<kType, 128>(launch, stream);
  }
}

}  // namespace

const char* mma_objection(const W4Problem& problem, const DeviceLimits& limits, int tokens) {
  if (const char* objection = tensor_core_objection(problem, limits)) return objection;
  if (ring_of(tokens, group_of(problem.layout), limits).stages < 2) return "two stages do not fit in shared memory";
  return nullptr;
}

std::uint64_t mma_workspace(const W4Layout& layout, std::int64_t m, const DeviceLimits& limits, int tokens) {
  const int leaves = w4_leaves(layout.k);
  const Ring ring = ring_of(tokens, group_of(layout), limits);
  // Of all numbers of tokens up to m, the largest that shares its tiles.
  const std::int64_t most = static_cast<std::int64_t>(limits.multiprocessors) * ring.together / 2 / layout.strips();
  const std::int64_t tiles = layout.strips() * std::min((m + tokens - 1) / tokens, most);
  if (leaves == 1 || tiles <= 0) return 0;
  return kCounterBytes + static_cast<std::uint64_t>(tiles * leaves * tokens) * 128 * sizeof(float);
}

int mma_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int tokens) {
  MmaLaunch launch;
  launch.tokens = tokens;
  launch.group_size = group_of(problem.layout);
  MmaArgs& args = launch.args;
  args.weight = static_cast<const std::uint8_t*>(problem.weight);
  args.x = static_cast<const std::uint16_t*>(problem.x);
  args.y = static_cast<std::uint16_t*>(problem.y);
  args.bias = problem.bias;
  args.n = static_cast<std::int32_t>(problem.layout.n);
  args.k = static_cast<std::int32_t>(problem.layout.k);
  args.m = static_cast<std::int32_t>(problem.m);
  args.steps = static_cast<std::int32_t>(problem.layout.steps());
  args.leaves = w4_leaves(problem.layout.k);
  args.strips = static_cast<std::int32_t>(problem.layout.strips());
  args.token_tiles = (args.m + tokens - 1) / tokens;
  const Ring ring = ring_of(tokens, launch.group_size, limits);
  args.stages = ring.stages;
  launch.shared_bytes = ring.stages * MmaMemory{tokens, launch.group_size}.stage_bytes();
  if (problem.workspace != nullptr) {
    args.parts =
        parts_of(static_cast<std::int64_t>(args.strips) * args.token_tiles, args.leaves, ring.together, limits);
    args.arrived = static_cast<std::uint32_t*>(problem.workspace);
    args.partial = reinterpret_cast<float*>(static_cast<std::uint8_t*>(problem.workspace) + kCounterBytes);
  }
  return problem.type == Half::kF16 ? launch_mma_group<Half::kF16>(launch, stream)
                                    : launch_mma_group<Half::kBf16>(launch, stream);
}

}  // namespace awq::kernels::cuda
