#include <cuda_runtime.h>

#include "kernels/cuda/w4_kernels.h"
#include "kernels/cuda/w4_small.cuh"

namespace awq::kernels::cuda {
namespace {

/// Steps of a ring: deep where two blocks still fit on a multiprocessor.
constexpr int kDeep = 10;
constexpr int kShallow = 6;

int token_rows(std::int64_t m) { return m <= 1 ? 1 : m <= 2 ? 2 : m <= 4 ? 4 : 8; }

template <int kGroup, int kDepth>
int shared_bytes(const W4Problem& problem) {
  return small_shared_bytes<kGroup, kDepth>(static_cast<int>(problem.layout.steps()), token_rows(problem.m));
}
int least_shared_bytes(const W4Problem& problem) {
  switch (problem.layout.step_groups()) {
    case 4:
      return shared_bytes<32, kShallow>(problem);
    case 2:
      return shared_bytes<64, kShallow>(problem);
    default:
      return shared_bytes<128, kShallow>(problem);
  }
}
/// Blocks of so many bytes that a multiprocessor holds, at most two; the system keeps 1 KB of each.
int blocks_together(int bytes, const DeviceLimits& limits) {
  return 2 * (bytes + 1024) <= limits.shared_bytes + 1024 ? 2 : 1;
}

template <Half kType, int kGroup, int kDepth>
int launch(const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
  const auto kernel = w4_small_kernel<kType, kGroup, kDepth>;
  static const cudaError_t allowed =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, limits.shared_bytes);
  if (allowed != cudaSuccess) return allowed;
  SmallArgs args{.weight = static_cast<const std::uint8_t*>(problem.weight),
                 .x = static_cast<const std::uint16_t*>(problem.x),
                 .y = static_cast<std::uint16_t*>(problem.y),
                 .bias = problem.bias,
                 .n = static_cast<std::int32_t>(problem.layout.n),
                 .k = static_cast<std::int32_t>(problem.layout.k),
                 .m = static_cast<std::int32_t>(problem.m),
                 .steps = static_cast<std::int32_t>(problem.layout.steps()),
                 .leaves = w4_leaves(problem.layout.k),
                 .rows = token_rows(problem.m)};
  const int tile_rows = 16 * kSmallWarps / args.leaves;
  args.tiles = (args.n + tile_rows - 1) / tile_rows;
  const int bytes = shared_bytes<kGroup, kDepth>(problem);
  const int resident = limits.multiprocessors * blocks_together(bytes, limits);
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(args.tiles < resident ? args.tiles : resident));
  config.blockDim = dim3(kSmallWarps * 32);
  config.dynamicSmemBytes = static_cast<std::size_t>(bytes);
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = problem.overlap && limits.capability >= 90 ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, args);
}

template <Half kType, int kGroup>
int launch_depth(const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
  const int deep = shared_bytes<kGroup, kDeep>(problem);
  const int shallow = shared_bytes<kGroup, kShallow>(problem);
  const bool fits = deep <= limits.shared_bytes && blocks_together(deep, limits) == blocks_together(shallow, limits);
  return fits ? launch<kType, kGroup, kDeep>(problem, limits, stream)
              : launch<kType, kGroup, kShallow>(problem, limits, stream);
}

template <Half kType>
int launch_group(const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
  switch (problem.layout.step_groups()) {
    case 4:
      return launch_depth<kType, 32>(problem, limits, stream);
    case 2:
      return launch_depth<kType, 64>(problem, limits, stream);
    default:
      return launch_depth<kType, 128>(problem, limits, stream);
  }
}

}  // namespace

const char* small_objection(const W4Problem& problem, const DeviceLimits& limits) {
  if (limits.capability < 80) return "needs compute capability 8.0";
  if (problem.m > 8) return "takes up to 8 tokens";
  if (least_shared_bytes(problem) > limits.shared_bytes) return "the tokens do not fit in shared memory";
  return nullptr;
}

int small_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
  return problem.type == Half::kF16 ? launch_group<Half::kF16>(problem, limits, stream)
                                    : launch_group<Half::kBf16>(problem, limits, stream);
}

}  // namespace awq::kernels::cuda
