#include "kernels/api/cuda_linear.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"

/// 16-bit weights in one order of sums: for the output matrix, whose rows must not depend on the batch either. One
/// chain of tensor core products over K per output, whatever M, N and the tile of tokens.
namespace awq::kernels::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kRows = 16 * kWarps;  ///< of the weight in a block
constexpr int kStepInputs = 64;     ///< a row of a stage: 128 bytes, 16-byte pieces swizzled by the row

template <int kTokenTiles>
struct DenseShape {
  static constexpr int kTokens = 8 * kTokenTiles;
  static constexpr int kStages = kTokenTiles <= 2 ? 5 : 4;
  static constexpr int kStageBytes = (kRows + kTokens) * 128;
  /// Where copies do not run beside the kernel: one stage is read, one is written.
  static constexpr int kPlainStages = 2;
};

__device__ __forceinline__ std::uint32_t swizzled(int row, int piece) {
  return static_cast<std::uint32_t>(row * 128 + ((piece ^ (row & 7)) << 4));
}

template <Half kType, int kTokenTiles>
__global__ void __launch_bounds__(kWarps * 32, 2)
    dense_kernel(const __grid_constant__ DenseProblem problem, int given_stages) {
  if constexpr (!ptx::kHasProducts<kType>) return;
  using Shape = DenseShape<kTokenTiles>;
  const int stages = ptx::ring_depth(Shape::kStages, given_stages);
  AWQ_DYNAMIC_SHARED(shared, 128);
  const std::uint32_t base = ptx::shared_address(shared);
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread >> 5;
  const int lane = thread & 31;
  const std::int64_t row0 = static_cast<std::int64_t>(blockIdx.x) * kRows;
  const std::int64_t token0 = static_cast<std::int64_t>(blockIdx.y) * Shape::kTokens;
  const auto* weight = static_cast<const std::uint16_t*>(problem.weight);
  const auto* x = static_cast<const std::uint16_t*>(problem.x);
  const int steps = static_cast<int>((problem.k + kStepInputs - 1) / kStepInputs);

  const auto copy_rows = [&](std::uint32_t to, const std::uint16_t* matrix, std::int64_t first, std::int64_t rows,
                             int count, int step) {
#pragma unroll
    for (int i = 0; i < (count * 8 + kWarps * 32 - 1) / (kWarps * 32); ++i) {
      const int at = i * kWarps * 32 + thread;
      const int row = at >> 3;
      const int piece = at & 7;
      if (count * 8 % (kWarps * 32) != 0 && row >= count) break;
      const std::int64_t k = static_cast<std::int64_t>(step) * kStepInputs + piece * 8;
      const bool inside = first + row < rows && k < problem.k;
      ptx::copy_async(to + swizzled(row, piece), matrix + (inside ? (first + row) * problem.k + k : 0),
                      inside ? 16 : 0);
    }
  };
  const auto copy_weights = [&](int step, int stage) {
    if (step < steps) copy_rows(base + stage * Shape::kStageBytes, weight, row0, problem.n, kRows, step);
  };
  const auto copy_tokens = [&](int step, int stage) {
    if (step < steps) {
      copy_rows(base + stage * Shape::kStageBytes + kRows * 128, x, token0, problem.m, Shape::kTokens, step);
    }
  };
  // The weights of the first stages are under way before an earlier kernel has written x.
  for (int i = 0; i < Shape::kStages - 1; ++i) {
    if (i < stages - 1) copy_weights(i, i);
  }
  ptx::wait_for_earlier_kernel();
  for (int i = 0; i < Shape::kStages - 1; ++i) {
    if (i < stages - 1) copy_tokens(i, i);
    ptx::copy_commit();
  }
  ptx::let_next_kernel_start();

  float sum[kTokenTiles][4];
#pragma unroll
  for (int t = 0; t < kTokenTiles; ++t) {
#pragma unroll
    for (int c = 0; c < 4; ++c) sum[t][c] = 0.0F;
  }
  int stage = 0;
  int fill = stages - 1;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    ptx::copy_wait<Shape::kStages - 2>();
    __syncthreads();
    copy_weights(step + stages - 1, fill);
    copy_tokens(step + stages - 1, fill);
    ptx::copy_commit();
    if (++fill == stages) fill = 0;
    const std::uint32_t rows_at = base + stage * Shape::kStageBytes;
    const std::uint32_t tokens_at = rows_at + kRows * 128;
    if (++stage == stages) stage = 0;
#pragma unroll
    for (int s = 0; s < 4; ++s) {
      std::uint32_t a[4];
      ptx::load_matrices(rows_at + swizzled(warp * 16 + (lane & 15), 2 * s + (lane >> 4)), a);
      if constexpr (kTokenTiles == 1) {
        std::uint32_t b[4];
        ptx::load_matrices(tokens_at + swizzled(lane & 7, 4 * (s >> 1) + (lane >> 3)), b);
        ptx::mma<kType, false>(sum[0], a, b[2 * (s & 1)], b[2 * (s & 1) + 1]);
      } else {
#pragma unroll
        for (int t = 0; t < kTokenTiles; t += 2) {
          std::uint32_t b[4];
          ptx::load_matrices(tokens_at + swizzled(8 * t + 8 * (lane >> 4) + (lane & 7), 2 * s + ((lane >> 3) & 1)), b);
          ptx::mma<kType, false>(sum[t], a, b[0], b[1]);
          ptx::mma<kType, false>(sum[t + 1], a, b[2], b[3]);
        }
      }
    }
  }
#pragma unroll
  for (int t = 0; t < kTokenTiles; ++t) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const std::int64_t n = row0 + warp * 16 + (lane >> 2) + 8 * (c >> 1);
      const std::int64_t m = token0 + 8 * t + 2 * (lane & 3) + (c & 1);
      if (n < problem.n && m < problem.m) {
        problem.y[m * problem.n + n] = __fadd_rn(sum[t][c], problem.bias != nullptr ? problem.bias[n] : 0.0F);
      }
    }
  }
}

template <Half kType, int kTokenTiles>
int launch_dense(const DenseProblem& problem, Stream stream) {
  using Shape = DenseShape<kTokenTiles>;
  constexpr auto kKernel = dense_kernel<kType, kTokenTiles>;
  const int stages = code_capability() >= 80 ? Shape::kStages : Shape::kPlainStages;
  const int bytes = stages * Shape::kStageBytes;
  if (const int status = allow_shared_bytes<kKernel>(bytes, Carveout::kDriver); status != 0) return status;
  const dim3 grid(static_cast<unsigned>((problem.n + kRows - 1) / kRows),
                  static_cast<unsigned>((problem.m + Shape::kTokens - 1) / Shape::kTokens));
  return launch(kKernel, grid, kWarps * 32, static_cast<std::size_t>(bytes), stream, 1, problem, stages);
}

template <Half kType>
int launch_tokens(const DenseProblem& problem, Stream stream) {
  if (problem.m <= 8) return launch_dense<kType, 1>(problem, stream);
  if (problem.m <= 16) return launch_dense<kType, 2>(problem, stream);
  if (problem.m <= 32) return launch_dense<kType, 4>(problem, stream);
  return launch_dense<kType, 8>(problem, stream);
}

}  // namespace

int dense_linear(const DenseProblem& problem, Stream stream) {
  if (problem.m <= 0) return cudaSuccess;
  if (problem.k % 8 != 0) return cudaErrorInvalidValue;
  return problem.type == Half::kF16 ? launch_tokens<Half::kF16>(problem, stream)
                                    : launch_tokens<Half::kBf16>(problem, stream);
}

}  // namespace awq::kernels::cuda
