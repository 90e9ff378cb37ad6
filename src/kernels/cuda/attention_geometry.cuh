#pragma once

#include <cstdint>

#include "kernels/cuda/kv_layout.cuh"

/// What the attention kernels agree on. A row is one query token and head. Whoever computes it, with whatever beside
/// it, these are the operations (binary32, rounded as written; tc: one tensor core product of 16 elements; scores are
/// scaled by c = scale * log2(e); masked scores are -inf):
///
///   M = -inf; L = 0; O = 0                                     the row so far
///   for each chunk of 256 keys (absolute positions, rising) of which the row sees some:
///     m = -inf; l = 0; o = 0                                   the chunk so far
///     for each unit of 64 keys of the chunk of which the row sees some, rising:
///       s[j] = tc over dims, 16 at a time, rising, from 0
///       mu = max(s) * c;  p[j] = exp2(fma(s[j], c, -mu))
///       lane[t] = (p[2t] + p[2t + 1]) + ... over columns 8 n + 2 t, n rising;  lu = (lane 0 + 1) + (lane 2 + 3)
///       ou = tc of half(p) and values, 16 keys at a time, rising, from 0
///       fold (m, l, o) with (mu, lu, ou)
///     fold (M, L, O) with (m, l, o)
///   result = half(O * (1 / L))
///
///   fold: n = max(m, mu);  f = exp2(m - n);  g = exp2(mu - n);  l = fma(lu, g, l * f);  o = fma(ou, g, o * f);  m = n
///
/// A unit or chunk that a row does not see changes no bit of it: f = 1, g = 0, and the sums are never -0.
namespace awq::kernels::cuda {

inline constexpr int kUnitKeys = 64;
inline constexpr int kChunkKeys = 256;
inline constexpr int kChunkUnits = kChunkKeys / kUnitKeys;
inline constexpr int kUnitPages = kUnitKeys / kBlockTokens;
inline constexpr int kTileRows = 16;  ///< of one product of the tensor cores
inline constexpr int kMaxHeadDim = 256;

struct RopeArguments;

struct AttentionArguments {
  const std::uint16_t* q;
  std::int64_t q_stride;
  std::uint16_t* out;
  const unsigned char* cache;
  CacheType cache_type;
  std::int32_t num_heads;
  std::int32_t num_kv_heads;
  std::int32_t head_dim;
  std::int32_t group;   ///< query heads per head of keys
  std::int32_t window;  ///< keys that a query sees; 0: all
  float scale;          ///< of scores, times log2(e)
  std::int32_t sequences;
  const std::int32_t* query_begin;
  const std::int32_t* past;
  const std::int32_t* blocks;
  std::int32_t block_stride;
  const std::int32_t* token_sequence;
  std::int32_t split_queries;  ///< sequences with up to so many new tokens are split over blocks by chunks
  std::int32_t chunks;         ///< of the longest sequence
  float* partial;              ///< [sequences][split_queries][num_heads][chunks][head_dim] sums of chunks
  float2* partial_weights;     ///< the same without head_dim: largest score, sum of weights
};

__host__ __device__ constexpr int first_key(int position, int window) {
  return window > 0 && position + 1 > window ? position + 1 - window : 0;
}

/// What `count` rows from `first` of a sequence and head of keys look at; row = new token * group + head in the group.
struct RowSpan {
  int last_row;   ///< the last that exists
  int first_key;  ///< of the first row
  int last_key;   ///< of the last row

  __host__ __device__ constexpr int first_chunk() const { return first_key / kChunkKeys; }
  __host__ __device__ constexpr int last_chunk() const { return last_key / kChunkKeys; }
  __host__ __device__ constexpr bool has_key(int key) const { return key >= first_key && key <= last_key; }
  __host__ __device__ constexpr bool sees_unit(int unit) const {
    return unit * kUnitKeys <= last_key && unit * kUnitKeys + kUnitKeys > first_key;
  }
  /// Whether every row sees all keys of the unit: no mask is needed then.
  __host__ __device__ constexpr bool all_see_unit(int unit, int first_position, int window) const {
    return unit * kUnitKeys + kUnitKeys - 1 <= first_position &&
           unit * kUnitKeys >= awq::kernels::cuda::first_key(last_key, window);
  }
};

__host__ __device__ constexpr RowSpan row_span(int first, int count, int queries, int past, int group, int window) {
  const int rows = queries * group;
  const int last_row = first + count < rows ? first + count - 1 : rows - 1;
  return {last_row, first_key(past + first / group, window), past + last_row / group};
}

/// Slot of a row and chunk among the partial results.
__host__ __device__ constexpr std::int64_t partial_slot(const AttentionArguments& a, int sequence, int query, int head,
                                                        int chunk) {
  return ((static_cast<std::int64_t>(sequence) * a.split_queries + query) * a.num_heads + head) * a.chunks + chunk;
}

/// Enqueue; each takes the sequences that are its own and leaves the others alone.
int launch_attention_decode(Half type, const AttentionArguments& a, Stream stream);
/// With rotation and storing; every sequence has one new token, and no head of keys more than 16 query heads.
int launch_rotating_decode(Half type, const AttentionArguments& a, const RopeArguments& rotation, Stream stream);
int launch_attention_prefill(Half type, const AttentionArguments& a, std::int32_t tokens, Stream stream);
int launch_attention_plain(Half type, const AttentionArguments& a, std::int32_t tokens, Stream stream);

}  // namespace awq::kernels::cuda
