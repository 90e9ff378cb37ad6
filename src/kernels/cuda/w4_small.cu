#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/w4_kernels.h"
#include "kernels/cuda/w4_small.cuh"

namespace awq::kernels::cuda {
namespace {

int warps_of(const W4Problem& problem, const DeviceLimits& limits) {
  return small_warps(problem.layout, problem.m, limits.multiprocessors, limits.shared_bytes,
                     small_depth(limits.capability));
}

template <Half kType, int kGroup>
int launch_small(const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
  constexpr auto kKernel = w4_small_kernel<kType, kGroup>;
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
                 .rows = small_token_rows(problem.m),
                 .warps = warps_of(problem, limits),
                 .depth = small_depth(limits.capability)};
  for (args.rows_log2 = 0; 1 << args.rows_log2 < args.rows;) ++args.rows_log2;
  const int tile_rows = 16 * (args.warps / args.leaves);
  args.tiles = (args.n + tile_rows - 1) / tile_rows;
  const auto bytes = static_cast<std::size_t>(small_shared_bytes(problem.layout, problem.m, args.warps, args.depth));
  const unsigned grid =
      static_cast<unsigned>(args.tiles < limits.multiprocessors ? args.tiles : limits.multiprocessors);
  return launch(kKernel, dim3(grid), static_cast<unsigned>(args.warps * 32), bytes, stream, 1, args);
}

template <Half kType>
int launch_group(const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
  switch (problem.layout.step_groups()) {
    case 4:
      return launch_small<kType, 32>(problem, limits, stream);
    case 2:
      return launch_small<kType, 64>(problem, limits, stream);
    default:
      return launch_small<kType, 128>(problem, limits, stream);
  }
}

}  // namespace

const char* small_objection(const W4Problem& problem, const DeviceLimits& limits) {
  if (const char* objection = tensor_core_objection(problem, limits)) return objection;
  if (problem.m > 8) return "takes up to 8 tokens";
  if (warps_of(problem, limits) == 0) return "the tokens do not fit in shared memory";
  return nullptr;
}

int small_run(const W4Problem& problem, const DeviceLimits& limits, Stream stream) {
  return problem.type == Half::kF16 ? launch_group<Half::kF16>(problem, limits, stream)
                                    : launch_group<Half::kBf16>(problem, limits, stream);
}

}  // namespace awq::kernels::cuda
