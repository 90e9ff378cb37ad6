#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/w4_kernels.h"
#include "kernels/cuda/w4_small.cuh"

namespace awq::kernels::cuda {
namespace {

/// Steps of a ring. Ten were no faster.
constexpr int kDepth = 6;

int token_rows(std::int64_t m) { return m <= 1 ? 1 : m <= 2 ? 2 : m <= 4 ? 4 : 8; }

template <int kGroup>
int shared_bytes(const W4Problem& problem) {
  return small_shared_bytes<kGroup, kDepth>(static_cast<int>(problem.layout.steps()), token_rows(problem.m));
}
int block_bytes(const W4Problem& problem) {
  switch (problem.layout.step_groups()) {
    case 4:
      return shared_bytes<32>(problem);
    case 2:
      return shared_bytes<64>(problem);
    default:
      return shared_bytes<128>(problem);
  }
}
/// True when a multiprocessor holds two blocks of so many bytes: one of this launch and one of the next, whose ring
/// then fills while this one ends. The system keeps 1 KB of each.
bool fits_twice(int bytes, const DeviceLimits& limits) { return 2 * (bytes + 1024) <= limits.shared_bytes + 1024; }

template <Half kType, int kGroup>
int launch_small(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int together) {
  constexpr auto kKernel = w4_small_kernel<kType, kGroup, kDepth>;
  if (const int status = allow_shared_bytes<kKernel>(limits.shared_bytes, Carveout::kDriver); status != 0)
    return status;
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
  for (args.rows_log2 = 0; 1 << args.rows_log2 < args.rows;) ++args.rows_log2;
  const int tile_rows = 16 * kSmallWarps / args.leaves;
  args.tiles = (args.n + tile_rows - 1) / tile_rows;
  const int bytes = shared_bytes<kGroup>(problem);
  const int resident = limits.multiprocessors * together;
  const unsigned grid = static_cast<unsigned>(args.tiles < resident ? args.tiles : resident);
  return launch(kKernel, dim3(grid), kSmallWarps * 32, static_cast<std::size_t>(bytes), stream, 1, args);
}

template <Half kType>
int launch_group(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int together) {
  switch (problem.layout.step_groups()) {
    case 4:
      return launch_small<kType, 32>(problem, limits, stream, together);
    case 2:
      return launch_small<kType, 64>(problem, limits, stream, together);
    default:
      return launch_small<kType, 128>(problem, limits, stream, together);
  }
}

}  // namespace

const char* small_objection(const W4Problem& problem, const DeviceLimits& limits, int together) {
  if (limits.capability < 80) return "needs compute capability 8.0";
  if (problem.m > 8) return "takes up to 8 tokens";
  if (block_bytes(problem) > limits.shared_bytes) return "the tokens do not fit in shared memory";
  if (together == 2 && !fits_twice(block_bytes(problem), limits)) {
    return "two blocks do not fit on a multiprocessor";
  }
  return nullptr;
}

int small_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream, int together) {
  return problem.type == Half::kF16 ? launch_group<Half::kF16>(problem, limits, stream, together)
                                    : launch_group<Half::kBf16>(problem, limits, stream, together);
}

}  // namespace awq::kernels::cuda
