#include <cooperative_groups.h>

#include <climits>

#include "kernels/api/cuda_token.h"
#include "kernels/cuda/norm_row.cuh"
#include "kernels/cuda/silu.cuh"
#include "kernels/cuda/token_device.cuh"

namespace awq::kernels::cuda {
namespace {

constexpr unsigned kWarp = 32;

template <Half kType, bool kVector>
__global__ void embed_kernel(const std::uint16_t* table, const std::int32_t* ids, std::int64_t width, float* hidden) {
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const std::int64_t token = blockIdx.x;
  const std::uint16_t* from = table + ids[token] * width;
  float* to = hidden + token * width;
  if constexpr (kVector) {
    for (std::int64_t i = threadIdx.x * 8; i < width; i += blockDim.x * 8) {
      const uint4 halves = *reinterpret_cast<const uint4*>(from + i);
      const float2 a = unpack_halves<kType>(halves.x);
      const float2 b = unpack_halves<kType>(halves.y);
      const float2 c = unpack_halves<kType>(halves.z);
      const float2 d = unpack_halves<kType>(halves.w);
      *reinterpret_cast<float4*>(to + i) = make_float4(a.x, a.y, b.x, b.y);
      *reinterpret_cast<float4*>(to + i + 4) = make_float4(c.x, c.y, d.x, d.y);
    }
  } else {
    for (std::int64_t i = threadIdx.x; i < width; i += blockDim.x) to[i] = widen_half<kType>(from[i]);
  }
}

template <typename Word>
__global__ void gather_kernel(Word* to, const Word* from, const std::int32_t* rows, std::int64_t row_words) {
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const std::int64_t row = blockIdx.x;
  const Word* source = from + rows[row] * row_words;
  for (std::int64_t i = threadIdx.x; i < row_words; i += blockDim.x) to[row * row_words + i] = source[i];
}

/// Sum over the block, in one order that depends on blockDim alone; every thread gets it.
__device__ float block_sum(float value) {
  __shared__ float warp_sums[kWarp];
  value = norm_warp_sum(value);
  if (threadIdx.x % kWarp == 0) warp_sums[threadIdx.x / kWarp] = value;
  __syncthreads();
  const unsigned lane = threadIdx.x % kWarp;
  return norm_warp_sum(lane < blockDim.x / kWarp ? warp_sums[lane] : 0.0F);
}

struct NormArguments {
  const float* x;
  float* hidden;                ///< x once more where a branch is added
  const std::uint16_t* branch;  ///< or null
  const std::int32_t* rows;     ///< or null
  const float* weight;          ///< or null: the addition alone
  float eps;
  std::int64_t width;
  std::uint16_t* y;
};

/// Elements i .. i + 3 of a row, with the branch added and written back.
template <Half kType>
__device__ __forceinline__ float4 load_four(const NormArguments& a, std::int64_t in, std::int64_t out, std::int64_t i) {
  float4 v = *reinterpret_cast<const float4*>(a.x + in * a.width + i);
  if (a.branch != nullptr) {
    const uint2 halves = *reinterpret_cast<const uint2*>(a.branch + out * a.width + i);
    const float2 low = unpack_halves<kType>(halves.x);
    const float2 high = unpack_halves<kType>(halves.y);
    v = make_float4(v.x + low.x, v.y + low.y, v.z + high.x, v.w + high.y);
    *reinterpret_cast<float4*>(a.hidden + in * a.width + i) = v;
  }
  return v;
}

template <Half kType>
__device__ __forceinline__ void store_four(const NormArguments& a, std::int64_t out, std::int64_t i, float4 v,
                                           float factor) {
  *reinterpret_cast<uint2*>(a.y + out * a.width + i) =
      norm_four<kType>(v, factor, *reinterpret_cast<const float4*>(a.weight + i));
}

/// One block per row, which stays in registers: kFours fours of elements per thread; 0: any width, read twice.
template <Half kType, int kFours>
__global__ void __launch_bounds__(512) norm_kernel(NormArguments a) {
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const std::int64_t out = blockIdx.x;
  const std::int64_t in = a.rows != nullptr ? a.rows[out] : out;
  float sum = 0;
  if constexpr (kFours > 0) {
    float4 kept[kFours];
#pragma unroll
    for (int f = 0; f < kFours; ++f) {
      const std::int64_t i = (threadIdx.x + f * blockDim.x) * 4LL;
      kept[f] = i < a.width ? load_four<kType>(a, in, out, i) : make_float4(0, 0, 0, 0);
      sum = square_sum(kept[f], sum);
    }
    if (a.weight == nullptr) return;
    const float factor = norm_factor(block_sum(sum), static_cast<float>(a.width), a.eps);
#pragma unroll
    for (int f = 0; f < kFours; ++f) {
      const std::int64_t i = (threadIdx.x + f * blockDim.x) * 4LL;
      if (i < a.width) store_four<kType>(a, out, i, kept[f], factor);
    }
  } else {
    const float* x = a.x + in * a.width;
    for (std::int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
      float v = x[i];
      if (a.branch != nullptr) {
        v += widen_half<kType>(a.branch[out * a.width + i]);
        a.hidden[in * a.width + i] = v;
      }
      sum = __fmaf_rn(v, v, sum);
    }
    if (a.weight == nullptr) return;
    const float factor = norm_factor(block_sum(sum), static_cast<float>(a.width), a.eps);
    // Every thread reads what it has written itself.
    for (std::int64_t i = threadIdx.x; i < a.width; i += blockDim.x) {
      a.y[out * a.width + i] = ptx::to_half<kType>(x[i] * factor * a.weight[i]);
    }
  }
}

template <Half kType>
int launch_norm(const NormArguments& a, std::int64_t tokens, Stream stream) {
  const bool vector = a.width % 4 == 0 && is_aligned(a.x, 16) && is_aligned(a.weight, 16) && is_aligned(a.branch, 8) &&
                      is_aligned(a.y, 8);
  const std::int64_t fours = (a.width + 3) / 4;
  // The width alone decides: the sums of a row must not depend on how many rows there are.
  const auto threads = static_cast<unsigned>(norm_warps(fours)) * kWarp;
  const dim3 grid(static_cast<unsigned>(tokens));
  if (!vector || fours > 8 * 512) return launch(norm_kernel<kType, 0>, grid, threads, 0, stream, 1, a);
  if (fours <= 512) return launch(norm_kernel<kType, 1>, grid, threads, 0, stream, 1, a);
  if (fours <= 1024) return launch(norm_kernel<kType, 2>, grid, threads, 0, stream, 1, a);
  if (fours <= 2048) return launch(norm_kernel<kType, 4>, grid, threads, 0, stream, 1, a);
  return launch(norm_kernel<kType, 8>, grid, threads, 0, stream, 1, a);
}

template <Half kType>
__device__ __forceinline__ std::uint32_t silu_pair(std::uint32_t gates, std::uint32_t ups) {
  const float2 gate = unpack_halves<kType>(gates);
  const float2 up = unpack_halves<kType>(ups);
  return ptx::pack_halves<kType>(silu_times(gate.x, up.x), silu_times(gate.y, up.y));
}

constexpr unsigned kSiluThreads = 256;

template <Half kType, bool kVector>
__global__ void __launch_bounds__(kSiluThreads)
    silu_kernel(const std::uint16_t* gate_up, std::int64_t inner, std::uint16_t* y) {
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const std::int64_t token = blockIdx.y;
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * kSiluThreads + threadIdx.x) * (kVector ? 8 : 1);
  if (i >= inner) return;
  const std::uint16_t* gate = gate_up + token * 2 * inner + i;
  std::uint16_t* to = y + token * inner + i;
  if constexpr (kVector) {
    const uint4 g = *reinterpret_cast<const uint4*>(gate);
    const uint4 u = *reinterpret_cast<const uint4*>(gate + inner);
    *reinterpret_cast<uint4*>(to) = make_uint4(silu_pair<kType>(g.x, u.x), silu_pair<kType>(g.y, u.y),
                                               silu_pair<kType>(g.z, u.z), silu_pair<kType>(g.w, u.w));
  } else {
    *to = ptx::to_half<kType>(silu_times(widen_half<kType>(gate[0]), widen_half<kType>(gate[inner])));
  }
}

/// The largest value seen and where.
struct Best {
  float value;
  std::int32_t index;

  __device__ __forceinline__ void offer(float other, std::int32_t where) {
    // False for a NaN.
    if (other > value || (other == value && where < index)) {
      value = other;
      index = where;
    }
  }
};

/// The best of all lanes in lane 0.
__device__ __forceinline__ Best warp_best(Best best) {
  for (int distance = 16; distance > 0; distance /= 2) {
    const float value = __shfl_xor_sync(0xffffffffU, best.value, distance);
    best.offer(value, __shfl_xor_sync(0xffffffffU, best.index, distance));
  }
  return best;
}

constexpr unsigned kArgmaxThreads = 1024;
constexpr unsigned kArgmaxCluster = 8;

/// One cluster of gridDim.x blocks per row. The order of the comparisons does not show in the result.
__global__ void __launch_bounds__(kArgmaxThreads)
    argmax_kernel(const float* logits, std::int64_t vocab, bool vector, std::int32_t* ids) {
  __shared__ Best of_warps[kArgmaxThreads / kWarp];
  [[maybe_unused]] __shared__ Best of_blocks[kArgmaxCluster];
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const float* row = logits + blockIdx.y * vocab;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * kArgmaxThreads;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * kArgmaxThreads + threadIdx.x;
  Best best = {-INFINITY, INT_MAX};
  if (vector) {
#pragma unroll 4
    for (std::int64_t i = first * 4; i < vocab; i += threads * 4) {
      const float4 v = *reinterpret_cast<const float4*>(row + i);
      const auto at = static_cast<std::int32_t>(i);
      best.offer(v.x, at);
      best.offer(v.y, at + 1);
      best.offer(v.z, at + 2);
      best.offer(v.w, at + 3);
    }
  } else {
    for (std::int64_t i = first; i < vocab; i += threads) best.offer(row[i], static_cast<std::int32_t>(i));
  }
  const unsigned lane = threadIdx.x % kWarp;
  best = warp_best(best);
  if (lane == 0) of_warps[threadIdx.x / kWarp] = best;
  __syncthreads();
  if (threadIdx.x < kWarp) best = warp_best(of_warps[lane]);
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  if (gridDim.x > 1) {
    const auto cluster = cooperative_groups::this_cluster();
    cluster.sync();  // the memory of a block exists once the block has begun
    if (threadIdx.x == 0) *cluster.map_shared_rank(&of_blocks[blockIdx.x], 0) = best;
    cluster.sync();
    if (blockIdx.x == 0 && threadIdx.x == 0) {
      for (unsigned b = 0; b < gridDim.x; ++b) best.offer(of_blocks[b].value, of_blocks[b].index);
    }
  }
#endif
  // Nothing was taken where every value is a NaN: minus infinity has a lower index than the start.
  if (blockIdx.x == 0 && threadIdx.x == 0) ids[blockIdx.y] = best.index == INT_MAX ? -1 : best.index;
}

}  // namespace

int embed(Half type, const void* table, const std::int32_t* ids, std::int64_t tokens, std::int64_t width, float* hidden,
          Stream stream) {
  if (tokens <= 0) return 0;
  return for_half(type, [&]<Half kType>() {
    const bool vector = width % 8 == 0 && is_aligned(table, 16) && is_aligned(hidden, 16);
    const auto kernel = vector ? embed_kernel<kType, true> : embed_kernel<kType, false>;
    return launch(kernel, dim3(static_cast<unsigned>(tokens)), 256, 0, stream, 1,
                  static_cast<const std::uint16_t*>(table), ids, width, hidden);
  });
}

int gather_rows(void* to, const void* from, const std::int32_t* rows, std::int64_t count, std::int64_t row_bytes,
                Stream stream) {
  if (count <= 0) return 0;
  if (row_bytes % 4 != 0) return static_cast<int>(cudaErrorInvalidValue);
  const auto run = [&]<typename Word>() {
    constexpr std::int64_t kBytes = sizeof(Word);
    return launch(gather_kernel<Word>, dim3(static_cast<unsigned>(count)), 256, 0, stream, 1, static_cast<Word*>(to),
                  static_cast<const Word*>(from), rows, row_bytes / kBytes);
  };
  const bool vector = row_bytes % 16 == 0 && is_aligned(to, 16) && is_aligned(from, 16);
  return vector ? run.template operator()<uint4>() : run.template operator()<std::uint32_t>();
}

int rms_norm(Half type, const float* x, const std::int32_t* rows, const float* weight, float eps, std::int64_t tokens,
             std::int64_t width, void* y, Stream stream) {
  if (tokens <= 0) return 0;
  if (weight == nullptr || y == nullptr) return static_cast<int>(cudaErrorInvalidValue);
  const NormArguments a = {x, nullptr, nullptr, rows, weight, eps, width, static_cast<std::uint16_t*>(y)};
  return for_half(type, [&]<Half kType>() { return launch_norm<kType>(a, tokens, stream); });
}

int add_rms_norm(Half type, float* hidden, const void* branch, const float* weight, float eps, std::int64_t tokens,
                 std::int64_t width, void* y, Stream stream) {
  if (tokens <= 0) return 0;
  if (branch == nullptr || (weight != nullptr && y == nullptr)) return static_cast<int>(cudaErrorInvalidValue);
  const NormArguments a = {hidden,
                           hidden,
                           static_cast<const std::uint16_t*>(branch),
                           nullptr,
                           weight,
                           eps,
                           width,
                           static_cast<std::uint16_t*>(y)};
  return for_half(type, [&]<Half kType>() { return launch_norm<kType>(a, tokens, stream); });
}

int silu_multiply(Half type, const void* gate_up, std::int64_t tokens, std::int64_t inner, void* y, Stream stream) {
  // Rows are the second dimension of the grid, which ends at 65535.
  constexpr std::int64_t kRowsAtOnce = 65535;
  for (std::int64_t first = 0; first < tokens; first += kRowsAtOnce) {
    const std::int64_t rows = tokens - first < kRowsAtOnce ? tokens - first : kRowsAtOnce;
    const auto* from = static_cast<const std::uint16_t*>(gate_up) + first * 2 * inner;
    auto* to = static_cast<std::uint16_t*>(y) + first * inner;
    const int error = for_half(type, [&]<Half kType>() {
      const bool vector = inner % 8 == 0 && is_aligned(from, 16) && is_aligned(to, 16);
      const auto kernel = vector ? silu_kernel<kType, true> : silu_kernel<kType, false>;
      const std::int64_t columns = vector ? inner / 8 : inner;
      const dim3 grid(static_cast<unsigned>((columns + kSiluThreads - 1) / kSiluThreads), static_cast<unsigned>(rows));
      return launch(kernel, grid, kSiluThreads, 0, stream, 1, from, inner, to);
    });
    if (error != 0) return error;
  }
  return 0;
}

int argmax(const float* logits, std::int64_t rows, std::int64_t vocab, std::int32_t* ids, Stream stream) {
  if (rows <= 0) return 0;
  if (vocab <= 0 || vocab > INT_MAX || rows > 65535) return static_cast<int>(cudaErrorInvalidValue);
  const bool vector = vocab % 4 == 0 && is_aligned(logits, 16);
  const unsigned parts = code_capability() >= 90 ? kArgmaxCluster : 1;
  const dim3 grid(parts, static_cast<unsigned>(rows));
  return launch(argmax_kernel, grid, kArgmaxThreads, 0, stream, parts, logits, vocab, vector, ids);
}

}  // namespace awq::kernels::cuda
