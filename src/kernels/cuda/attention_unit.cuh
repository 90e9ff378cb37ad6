#pragma once

#include "kernels/cuda/attention_geometry.cuh"
#include "kernels/cuda/attention_ptx.cuh"
#include "kernels/cuda/token_device.cuh"

/// Parts of the sequence of operations of attention_geometry.cuh that decode and prefill have in common. One warp works
/// on 16 rows; lane 4 g + t holds rows g and g + 8, and columns 2 t and 2 t + 1 of every eight.
namespace awq::kernels::cuda {

/// Bytes of the keys, or of the values, of one block and head.
template <int kDim>
inline constexpr int kPageBytes = kBlockTokens* kDim * 2;

/// Where the queries of a sequence and head of keys lie: of row `row`, as RowSpan counts.
struct QueryRows {
  const AttentionArguments& a;
  int query_begin, queries, kv_head;

  __device__ __forceinline__ int count() const { return queries * a.group; }
  __device__ __forceinline__ const std::uint16_t* operator()(int row) const {
    const std::int64_t token = query_begin + row / a.group;
    const int head = kv_head * a.group + row % a.group;
    return a.q + token * a.q_stride + static_cast<std::int64_t>(head) * a.head_dim;
  }
};

/// The 16 rows from `first` of q as operand of the tensor cores; zeros where there is no row.
template <int kDim, class Rows>
__device__ __forceinline__ void load_queries(const Rows& rows, int first, int lane, std::uint32_t (&q)[kDim / 16][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first + lane / 4 + half * 8;
    const bool exists = row < rows.count();
    const std::uint16_t* from = rows(row) + lane % 4 * 2;
#pragma unroll
    for (int step = 0; step < kDim / 16; ++step) {
      q[step][half] = exists ? *reinterpret_cast<const std::uint32_t*>(from + step * 16) : 0;
      q[step][half + 2] = exists ? *reinterpret_cast<const std::uint32_t*>(from + step * 16 + 8) : 0;
    }
  }
}

/// Where a lane's row of matrices begins in a page of keys (read plainly) or of values (read transposed). The chunk of
/// 16 bytes of step i is this address xor 32 i: pages begin at multiples of the bytes of a token.
template <int kDim>
__host__ __device__ constexpr std::uint32_t key_lane_offset(int lane) {
  const int token = lane / 16 * 8 + lane % 8;
  return static_cast<std::uint32_t>(2 * kv_element(kDim, token, lane / 8 % 2 * 8));
}
template <int kDim>
__host__ __device__ constexpr std::uint32_t value_lane_offset(int lane) {
  const int token = lane / 8 % 2 * 8 + lane % 8;
  return static_cast<std::uint32_t>(2 * kv_element(kDim, token, lane / 16 * 8));
}

/// Scores of kPages pages from page `first` of the unit; `keys` is the shared address of the unit's first page, plus
/// key_lane_offset(), `stride` the bytes from one page to the next. The products of different keys take turns: those of
/// one wait for each other.
template <Half kType, int kDim, int kPages>
__device__ __forceinline__ void score_pages(const std::uint32_t (&q)[kDim / 16][4], std::uint32_t keys, int stride,
                                            int first, float (&s)[kUnitKeys / 8][4]) {
#pragma unroll
  for (int n = 2 * first; n < 2 * (first + kPages); ++n) s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0;
#pragma unroll
  for (int step = 0; step < kDim / 16; ++step) {
#pragma unroll
    for (int page = first; page < first + kPages; ++page) {
      std::uint32_t b[4];
      ptx::load_matrices((keys + page * stride) ^ (step * 32), b);
      ptx::mma<kType, false>(s[2 * page], q[step], b[0], b[1]);
      ptx::mma<kType, false>(s[2 * page + 1], q[step], b[2], b[3]);
    }
  }
}

/// Adds 16 keys to 16 columns of the result; `values` is the page's shared address plus value_lane_offset().
template <Half kType>
__device__ __forceinline__ void add_values(const std::uint32_t (&p)[4], std::uint32_t values, int columns16,
                                           float (&low)[4], float (&high)[4]) {
  std::uint32_t b[4];
  load_matrices_transposed(b, values ^ (columns16 * 32));
  ptx::mma<kType, false>(low, p, b[0], b[1]);
  ptx::mma<kType, false>(high, p, b[2], b[3]);
}

/// Hides the keys that a row must not see; rows g and g + 8 stand at these positions.
__device__ __forceinline__ void mask_unit(float (&s)[kUnitKeys / 8][4], int unit, int lane, const int (&position)[2],
                                          int window) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int first = first_key(position[half], window);
#pragma unroll
    for (int n = 0; n < kUnitKeys / 8; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const int key = unit * kUnitKeys + n * 8 + lane % 4 * 2 + c;
        if (key < first || key > position[half]) s[n][half * 2 + c] = -INFINITY;
      }
    }
  }
}

/// Largest score (times the scale) and sum of weights of rows g and g + 8, the weights as operand of the products.
template <Half kType>
__device__ __forceinline__ void weigh_unit(const float (&s)[kUnitKeys / 8][4], float scale, float (&largest)[2],
                                           float (&sum)[2], std::uint32_t (&p)[kUnitPages][4]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = -INFINITY;
#pragma unroll
    for (int n = 0; n < kUnitKeys / 8; ++n) most = fmaxf(most, fmaxf(s[n][half * 2], s[n][half * 2 + 1]));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, 1));
    most = fmaxf(most, __shfl_xor_sync(0xffffffffU, most, 2));
    largest[half] = __fmul_rn(most, scale);
    const float base = most == -INFINITY ? 0.0F : largest[half];
    float total = 0;
#pragma unroll
    for (int n = 0; n < kUnitKeys / 8; ++n) {
      const float first = exp2_approx(__fmaf_rn(s[n][half * 2], scale, -base));
      const float second = exp2_approx(__fmaf_rn(s[n][half * 2 + 1], scale, -base));
      total = __fadd_rn(total, __fadd_rn(first, second));
      p[n / 2][n % 2 * 2 + half] = ptx::pack_halves<kType>(first, second);
    }
    total = __fadd_rn(total, __shfl_xor_sync(0xffffffffU, total, 1));
    sum[half] = __fadd_rn(total, __shfl_xor_sync(0xffffffffU, total, 2));
  }
}

/// Weights of what a row has so far and of what comes to it.
struct Fold {
  float kept;
  float added;
};

/// Folds maxima and sums; the sums of values follow with fold_value().
__device__ __forceinline__ Fold fold_weights(float& largest, float& sum, float new_largest, float new_sum) {
  const float most = fmaxf(largest, new_largest);
  const float base = most == -INFINITY ? 0.0F : most;
  const Fold fold = {exp2_approx(__fsub_rn(largest, base)), exp2_approx(__fsub_rn(new_largest, base))};
  sum = __fmaf_rn(new_sum, fold.added, __fmul_rn(sum, fold.kept));
  largest = most;
  return fold;
}

__device__ __forceinline__ float fold_value(Fold fold, float value, float added) {
  return __fmaf_rn(added, fold.added, __fmul_rn(value, fold.kept));
}

__device__ __forceinline__ float inverse_sum(float sum) { return __frcp_rn(sum); }

}  // namespace awq::kernels::cuda
