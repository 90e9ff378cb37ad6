#include "kernels/cuda/attention_geometry.cuh"
#include "kernels/cuda/kv_codes.cuh"
#include "kernels/cuda/token_device.cuh"

/// Attention for widths of heads that the tensor cores do not serve, and for devices without them: one warp per row,
/// 32 keys at a time, in binary32. Made to be right, not fast.
namespace awq::kernels::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kWarp = 32;
constexpr int kLaneElements = kMaxHeadDim / kWarp;
constexpr unsigned kAll = 0xffffffffU;

/// The keys or the values of a token in binary32.
template <Half kType, CacheType kCache>
class CachedRow {
 public:
  /// `side`: the keys or the values of the token's block and head, `scale` its scale where there is one.
  __device__ __forceinline__ CachedRow(const unsigned char* side, const unsigned char* scale, int dim, int slot)
      : side_(side), dim_(dim), slot_(slot) {
    if constexpr (kCache != CacheType::kHalf) scale_ = *reinterpret_cast<const std::uint16_t*>(scale);
  }
  __device__ __forceinline__ float at(int i) const {
    if constexpr (kCache != CacheType::kHalf) {
      return widen_code<kType, kCache>(side_[kv_code(dim_, slot_, i)], scale_);
    } else {
      return widen_half<kType>(reinterpret_cast<const std::uint16_t*>(side_)[kv_element(dim_, slot_, i)]);
    }
  }
  /// Elements i and i + 1, for even i.
  __device__ __forceinline__ float2 pair(int i) const {
    if constexpr (kCache != CacheType::kHalf) {
      return make_float2(at(i), at(i + 1));
    } else {
      const auto* halves = reinterpret_cast<const std::uint16_t*>(side_) + kv_element(dim_, slot_, i);
      return unpack_halves<kType>(*reinterpret_cast<const std::uint32_t*>(halves));
    }
  }

 private:
  const unsigned char* side_;
  int dim_, slot_;
  std::uint16_t scale_ = 0;
};

template <Half kType, CacheType kCache>
__global__ void __launch_bounds__(kWarps* kWarp) plain_kernel(AttentionArguments a) {
  __shared__ float queries[kWarps][kMaxHeadDim];
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const std::int64_t token = blockIdx.x;
  const int head = static_cast<int>(blockIdx.y) * kWarps + warp;
  if (head >= a.num_heads) return;
  const int dim = a.head_dim;
  const std::uint16_t* from = a.q + token * a.q_stride + static_cast<std::int64_t>(head) * dim;
  for (int i = lane; i < dim; i += kWarp) queries[warp][i] = widen_half<kType>(from[i]);
  __syncwarp();
  const float* q = queries[warp];

  const std::int32_t sequence = a.token_sequence[token];
  const int position = a.past[sequence] + static_cast<int>(token) - a.query_begin[sequence];
  const std::int32_t* blocks = a.blocks + static_cast<std::int64_t>(sequence) * a.block_stride;
  const int begin = first_key(position, a.window);
  float largest = -INFINITY;
  float sum = 0;
  float out[kLaneElements] = {};
  // Steps begin at absolute positions: a row must not depend on how its prompt was cut.
  for (int base = begin / kWarp * kWarp; base <= position; base += kWarp) {
    const int key = base + lane;
    float score = -INFINITY;
    std::int64_t page = 0;
    if (key >= begin && key <= position) {
      page = kv_page(kCache, blocks[key / kBlockTokens], a.num_kv_heads, head / a.group, dim);
      const unsigned char* keys = a.cache + page;
      const int slot = key % kBlockTokens;
      const CachedRow<kType, kCache> row(keys, keys + kv_scale_offset(dim, false, slot), dim, slot);
      score = 0;
      for (int i = 0; i < dim; i += 2) {
        const float2 k = row.pair(i);
        score = __fmaf_rn(q[i], k.x, score);
        score = __fmaf_rn(q[i + 1], k.y, score);
      }
      score *= a.scale;
    }
    float most = score;
    for (int distance = 16; distance > 0; distance /= 2) most = fmaxf(most, __shfl_xor_sync(kAll, most, distance));
    most = fmaxf(most, largest);
    const float weight = most == -INFINITY ? 0.0F : exp2f(score - most);
    const float kept = largest == -INFINITY ? 0.0F : exp2f(largest - most);
    float total = weight;
    for (int distance = 16; distance > 0; distance /= 2) total += __shfl_xor_sync(kAll, total, distance);
    sum = __fmaf_rn(sum, kept, total);
    largest = most;
    for (int e = 0; e < kLaneElements; ++e) out[e] *= kept;
    for (int j = 0; j < kWarp; ++j) {
      const float p = __shfl_sync(kAll, weight, j);
      const std::int64_t where = __shfl_sync(kAll, page, j);
      if (base + j < begin || base + j > position) continue;
      const unsigned char* values = a.cache + where;
      const int slot = (base + j) % kBlockTokens;
      const CachedRow<kType, kCache> row(values + kv_side_bytes(kCache, dim), values + kv_scale_offset(dim, true, slot),
                                         dim, slot);
#pragma unroll
      for (int e = 0; e < kLaneElements; ++e) {
        const int i = e * kWarp + lane;
        if (i < dim) out[e] = __fmaf_rn(p, row.at(i), out[e]);
      }
    }
  }
  std::uint16_t* to = a.out + (token * a.num_heads + head) * dim;
#pragma unroll
  for (int e = 0; e < kLaneElements; ++e) {
    const int i = e * kWarp + lane;
    if (i < dim) to[i] = ptx::to_half<kType>(out[e] / sum);
  }
}

}  // namespace

int launch_attention_plain(Half type, const AttentionArguments& a, std::int32_t tokens, Stream stream) {
  const dim3 grid(static_cast<unsigned>(tokens), static_cast<unsigned>((a.num_heads + kWarps - 1) / kWarps));
  return for_half_and_cache(type, a.cache_type, [&]<Half kType, CacheType kCache>() {
    return launch(plain_kernel<kType, kCache>, grid, kWarps * kWarp, 0, stream, 1, a);
  });
}

}  // namespace awq::kernels::cuda
