// Causal attention in binary32 over whole sequences, for calibration: keys lie across the lanes of a warp for the
// scores, channels for the sum of values.

#include "kernels/api/cuda_calibrate.h"
#include "kernels/cuda/exp_device.cuh"
#include "kernels/cuda/search_group.cuh"

namespace awq::kernels::cuda::calibrate {
namespace {

constexpr int kTileKeys = 32;         // of one tile: a lane each
constexpr int kQueriesPerWarp = 4;    // that share what a warp reads of keys and values
constexpr float kNothing = -3.0e38F;  // below every score

template <int kMaxDim, int kWarps>
__global__ void attention_kernel(Attention p, std::int64_t query_tiles) {
  constexpr int kQueries = kWarps * kQueriesPerWarp;
  constexpr int kDims = kMaxDim / static_cast<int>(kPlainWarp);  // channels of a lane: lane + 32 c
  __shared__ float keys[kTileKeys][kMaxDim + 1];
  __shared__ float queries[kQueries][kMaxDim];
  const std::int64_t d = p.head_dim;
  const std::int64_t head = blockIdx.x % p.num_heads;
  const std::int64_t tile = blockIdx.x / p.num_heads % query_tiles;
  const std::int64_t start = blockIdx.x / p.num_heads / query_tiles * p.length;  // first token of the sequence
  const std::int64_t kv_head = head / (p.num_heads / p.num_kv_heads);
  const std::int64_t first_query = tile * kQueries;
  const int warp = static_cast<int>(threadIdx.x / kPlainWarp);
  const int lane = this_lane();
  for (std::int64_t i = threadIdx.x; i < kQueries * d; i += blockDim.x) {
    const std::int64_t query = first_query + i / d;
    queries[i / d][i % d] = query < p.length ? p.q[((start + query) * p.num_heads + head) * d + i % d] : 0.0F;
  }
  float largest[kQueriesPerWarp], sum[kQueriesPerWarp], out[kQueriesPerWarp][kDims];
#pragma unroll
  for (int i = 0; i < kQueriesPerWarp; ++i) {
    largest[i] = kNothing;
    sum[i] = 0;
#pragma unroll
    for (int c = 0; c < kDims; ++c) out[i][c] = 0;
  }
  const std::int64_t last_query = first_query + kQueries < p.length ? first_query + kQueries - 1 : p.length - 1;
  std::int64_t first_key = p.window > 0 && first_query + 1 > p.window ? first_query + 1 - p.window : 0;
  first_key = first_key / kTileKeys * kTileKeys;
  for (std::int64_t tile_key = first_key; tile_key <= last_query; tile_key += kTileKeys) {
    const std::int64_t rest = p.length - tile_key;
    const int present = static_cast<int>(rest < kTileKeys ? rest : kTileKeys);
    __syncthreads();  // the tile before is not read any more; the queries are there
    for (std::int64_t i = threadIdx.x; i < kTileKeys * d; i += blockDim.x) {
      const std::int64_t key = i / d;
      keys[key][i % d] = key < present ? p.k[((start + tile_key + key) * p.num_kv_heads + kv_head) * d + i % d] : 0.0F;
    }
    __syncthreads();
    float score[kQueriesPerWarp] = {};
    for (std::int64_t c = 0; c < d; ++c) {
      const float key = keys[lane][c];
#pragma unroll
      for (int i = 0; i < kQueriesPerWarp; ++i) score[i] = fmaf(queries[warp * kQueriesPerWarp + i][c], key, score[i]);
    }
    const std::int64_t key_at = tile_key + lane;
#pragma unroll
    for (int i = 0; i < kQueriesPerWarp; ++i) {
      const std::int64_t query = first_query + warp * kQueriesPerWarp + i;
      const bool seen = key_at <= query && (p.window == 0 || key_at > query - p.window);
      const float before = largest[i];
      const float top = warp_max(seen ? score[i] : kNothing);
      largest[i] = top > before ? top : before;
      score[i] = seen ? exp_nonpositive_device((score[i] - largest[i]) * p.scale) : 0.0F;
      const float shrink = before == kNothing ? 0.0F : exp_nonpositive_device((before - largest[i]) * p.scale);
      sum[i] = sum[i] * shrink + warp_sum(score[i]);
#pragma unroll
      for (int c = 0; c < kDims; ++c) out[i][c] *= shrink;
    }
    for (int key = 0; key < present; ++key) {
      const float* v = p.v + ((start + tile_key + key) * p.num_kv_heads + kv_head) * d;
      float value[kDims];
#pragma unroll
      for (int c = 0; c < kDims; ++c) {
        const int channel = lane + c * static_cast<int>(kPlainWarp);
        value[c] = channel < d ? v[channel] : 0.0F;
      }
#pragma unroll
      for (int i = 0; i < kQueriesPerWarp; ++i) {
        const float weight = __shfl_sync(kAllLanes, score[i], key);
#pragma unroll
        for (int c = 0; c < kDims; ++c) out[i][c] = fmaf(weight, value[c], out[i][c]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kQueriesPerWarp; ++i) {
    const std::int64_t query = first_query + warp * kQueriesPerWarp + i;
    if (query >= p.length) continue;
#pragma unroll
    for (int c = 0; c < kDims; ++c) {
      const int channel = lane + c * static_cast<int>(kPlainWarp);
      if (channel < d) p.out[((start + query) * p.num_heads + head) * d + channel] = out[i][c] / sum[i];
    }
  }
}

template <int kMaxDim, int kWarps>
int run(const Attention& problem, Stream stream) {
  constexpr std::int64_t kQueries = kWarps * kQueriesPerWarp;
  const std::int64_t query_tiles = (problem.length + kQueries - 1) / kQueries;
  return enqueue(attention_kernel<kMaxDim, kWarps>, problem.tokens / problem.length * query_tiles * problem.num_heads,
                 kWarps * kPlainWarp, stream, problem, query_tiles);
}

}  // namespace

int attention(const Attention& problem, Stream stream) {
  if (problem.head_dim > 256) return static_cast<int>(cudaErrorInvalidValue);
  return problem.head_dim <= 128 ? run<128, 8>(problem, stream) : run<256, 2>(problem, stream);
}

}  // namespace awq::kernels::cuda::calibrate
