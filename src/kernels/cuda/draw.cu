#include <climits>

#include "kernels/api/cuda_token.h"
#include "kernels/cuda/exp_device.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/draw_row.h"

/// One block for each row: the logits of a row are read a few times, from the L2 cache after the first.
namespace awq::kernels::cuda {
namespace {

constexpr int kGroups = 32;
constexpr int kLanes = 32;
constexpr unsigned kThreads = kGroups * kLanes;

struct WholeBlock {
  static constexpr int kGroups = cuda::kGroups;
  static constexpr int kLanes = cuda::kLanes;
  template <class F>
  __device__ void each(F f) const {
    f(static_cast<std::int32_t>(threadIdx.x));
    __syncthreads();
  }
  __device__ void add(std::uint32_t& place, std::uint32_t value) const { atomicAdd(&place, value); }
  __device__ void add(std::uint64_t& place, std::uint64_t value) const {
    atomicAdd(reinterpret_cast<unsigned long long*>(&place), static_cast<unsigned long long>(value));
  }
};

/// Shares are computed again wherever they are needed.
struct LogitRow {
  const float* logits;
  std::int32_t ids;
  float largest, factor;
  __device__ std::int32_t count() const { return ids; }
  __device__ std::uint32_t bits(std::int32_t i) const {
    return share_bits(exp_nonpositive_device(__fmul_rn(__fsub_rn(logits[i], largest), factor)));
  }
  __device__ std::int32_t id(std::int32_t i) const { return i; }
  __device__ void narrow(std::uint32_t) const {}
};

/// Larger for larger logits, and for lower ids among equals.
__device__ __forceinline__ std::uint64_t order_of(float logit, std::int32_t id) {
  const std::uint32_t bits = __float_as_uint(__fadd_rn(logit, 0.0F));  // one zero
  const std::uint32_t rising = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return (static_cast<std::uint64_t>(rising) << 32) | (0xffffffffU - static_cast<std::uint32_t>(id));
}

__global__ void __launch_bounds__(kThreads) draw_kernel(const float* logits, const std::int32_t* rows,
                                                        const DrawRule* rules, std::int64_t vocab, std::int32_t* ids) {
  using Work = RowDraw<WholeBlock, LogitRow>;
  __shared__ Work::Scratch scratch;
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const std::int64_t number = rows != nullptr ? rows[blockIdx.x] : static_cast<std::int64_t>(blockIdx.x);
  const float* row = logits + number * vocab;
  const auto count = static_cast<std::int32_t>(vocab);
  std::uint64_t best = 0;
  bool finite = true;
  for (auto i = static_cast<std::int32_t>(threadIdx.x); i < count; i += static_cast<std::int32_t>(kThreads)) {
    const float v = row[i];
    finite = finite && (__float_as_uint(v) & 0x7f800000U) != 0x7f800000U;
    const std::uint64_t order = order_of(v, i);
    best = order > best ? order : best;
  }
  scratch.partial[threadIdx.x] = best;
  const bool all_finite = __syncthreads_and(finite ? 1 : 0) != 0;
  for (unsigned distance = kThreads / 2; distance > 0; distance /= 2) {
    if (threadIdx.x < distance && scratch.partial[threadIdx.x + distance] > scratch.partial[threadIdx.x]) {
      scratch.partial[threadIdx.x] = scratch.partial[threadIdx.x + distance];
    }
    __syncthreads();
  }
  const auto largest_at = static_cast<std::int32_t>(0xffffffffU - static_cast<std::uint32_t>(scratch.partial[0]));
  __syncthreads();  // the scratch memory is written again below
  const DrawRule rule = rules[blockIdx.x];
  std::int32_t id = all_finite ? largest_at : -1;
  if (all_finite && rule.factor > 0) {
    LogitRow shares = {row, count, row[largest_at], rule.factor};
    id = Work(WholeBlock{}, scratch, shares).draw(rule);
  }
  if (threadIdx.x == 0) ids[blockIdx.x] = id;
}

}  // namespace

int draw(const float* logits, const std::int32_t* rows, const DrawRule* rules, std::int64_t count, std::int64_t vocab,
         std::int32_t* ids, Stream stream) {
  if (count <= 0) return 0;
  if (vocab <= 0 || vocab >= kMaxDrawnIds || count > INT_MAX || rules == nullptr) {
    return static_cast<int>(cudaErrorInvalidValue);
  }
  return launch(draw_kernel, dim3(static_cast<unsigned>(count)), kThreads, 0, stream, 1, logits, rows, rules, vocab,
                ids);
}

}  // namespace awq::kernels::cuda
