#include "kernels/cuda/attention_stages.cuh"

/// Many new tokens per sequence: one block per (sequence, head of keys, 16 rows per warp), which goes through all keys
/// that its rows see. Rows are (token, head in the group), so that a block reads each key once for all its heads.
namespace awq::kernels::cuda {
namespace {

/// A block's rows.
struct Tile {
  std::int32_t sequence;  ///< -1: none
  std::int32_t first_row;
  std::int32_t query_begin;
  std::int32_t queries;
};

/// Tile `index` of those that all sequences of this kernel have together. Late rows, which see the most keys, go first.
__device__ __forceinline__ Tile find_tile(const AttentionArguments& a, int index, int tile_rows, int lane) {
  int before = 0;
  for (int base = 0; base < a.sequences; base += 32) {
    const int sequence = base + lane;
    int begin = 0;
    int queries = 0;
    if (sequence < a.sequences) {
      begin = a.query_begin[sequence];
      queries = a.query_begin[sequence + 1] - begin;
    }
    const int tiles = queries > a.split_queries ? (queries * a.group + tile_rows - 1) / tile_rows : 0;
    int through = tiles;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const int other = __shfl_up_sync(0xffffffffU, through, distance);
      if (lane >= distance) through += other;
    }
    const unsigned beyond = __ballot_sync(0xffffffffU, before + through > index);
    if (beyond != 0) {
      const int from = __ffs(static_cast<int>(beyond)) - 1;
      const int last = before + __shfl_sync(0xffffffffU, through, from) - 1;
      return {base + from, (last - index) * tile_rows, __shfl_sync(0xffffffffU, begin, from),
              __shfl_sync(0xffffffffU, queries, from)};
    }
    before += __shfl_sync(0xffffffffU, through, 31);
  }
  return {-1, 0, 0, 0};
}

/// Units first .. last.
struct Units {
  int first;
  int last;

  __device__ __forceinline__ bool has(int unit) const { return unit >= first && unit <= last; }
};

/// Largest scores, sums of weights and sums of values of a lane's two rows.
template <int kDim>
struct Sums {
  float largest[2];
  float sum[2];
  float values[kDim / 8][4];

  __device__ __forceinline__ void clear() {
    largest[0] = largest[1] = -INFINITY;
    sum[0] = sum[1] = 0;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) values[n][c] = 0;
    }
  }
  __device__ __forceinline__ void fold(const Sums& other) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Fold fold = fold_weights(largest[half], sum[half], other.largest[half], other.sum[half]);
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float& value = values[n][half * 2 + c];
          value = fold_value(fold, value, other.values[n][half * 2 + c]);
        }
      }
    }
  }
};

/// Folds one unit, which lies at `stage`, into the chunk.
template <Half kType, int kDim>
__device__ __forceinline__ void run_unit(const std::uint32_t (&q)[kDim / 16][4], std::uint32_t stage, int unit,
                                         bool masked, const int* positions, int window, float scale, int lane,
                                         Sums<kDim>& chunk) {
  constexpr int kPage = 2 * kPageBytes<kDim>;
  std::uint32_t p[kUnitPages][4];
  Fold folds[2];
  {
    float s[kUnitKeys / 8][4];
    const std::uint32_t keys = stage + key_lane_offset<kDim>(lane);
    score_pages<kType, kDim, kUnitPages>(q, keys, kPage, 0, s);
    if (masked) {
      const int position[2] = {positions[lane / 4], positions[lane / 4 + 8]};
      mask_unit(s, unit, lane, position, window);
    }
    float largest[2];
    float sum[2];
    weigh_unit<kType>(s, scale, largest, sum, p);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      folds[half] = fold_weights(chunk.largest[half], chunk.sum[half], largest[half], sum[half]);
    }
  }
  const std::uint32_t values = stage + kPageBytes<kDim> + value_lane_offset<kDim>(lane);
  constexpr int kColumns = 32;  // at a time: four independent chains of products, and few registers
#pragma unroll
  for (int first = 0; first < kDim; first += kColumns) {
    float o[kColumns / 8][4] = {};
#pragma unroll
    for (int page = 0; page < kUnitPages; ++page) {
#pragma unroll
      for (int i = 0; i < kColumns / 16; ++i) {
        add_values<kType>(p[page], values + page * kPage, first / 16 + i, o[2 * i], o[2 * i + 1]);
      }
    }
#pragma unroll
    for (int n = 0; n < kColumns / 8; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        float& value = chunk.values[first / 8 + n][c];
        value = fold_value(folds[c / 2], value, o[n][c]);
      }
    }
  }
}

template <Half kType, int kDim>
__device__ __forceinline__ void store_rows(const AttentionArguments& a, const Tile& tile, int kv_head, int warp,
                                           int lane, const Sums<kDim>& sums) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = tile.first_row + warp * kTileRows + lane / 4 + half * 8;
    if (row >= tile.queries * a.group) continue;
    const std::int64_t token = tile.query_begin + row / a.group;
    const int head = kv_head * a.group + row % a.group;
    const float inverse = inverse_sum(sums.sum[half]);
    std::uint16_t* to = a.out + (token * a.num_heads + head) * kDim + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < kDim / 8; ++n) {
      *reinterpret_cast<std::uint32_t*>(to + n * 8) = ptx::pack_halves<kType>(
          __fmul_rn(sums.values[n][half * 2], inverse), __fmul_rn(sums.values[n][half * 2 + 1], inverse));
    }
  }
}

template <Half kType, int kDim, int kWarps, CacheType kCache>
__global__ void __launch_bounds__(kWarps * 32, 8 / kWarps) prefill_kernel(AttentionArguments a) {
  if constexpr (ptx::kBeforeSm80) return;  // launch_attention_plain() takes its place
  AWQ_DYNAMIC_SHARED(memory, 1024);
  __shared__ Tile kept;
  __shared__ int positions[kWarps * kTileRows];
  constexpr int kTile = kWarps * kTileRows;
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  // The same for all lanes, and the compiler shall know.
  const int warp = __shfl_sync(0xffffffffU, static_cast<int>(threadIdx.x / 32), 0);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int kv_head = static_cast<int>(blockIdx.x) % a.num_kv_heads;
  const Tile tile = find_tile(a, static_cast<int>(blockIdx.x) / a.num_kv_heads, kTile, lane);
  if (tile.sequence < 0) return;
  if (threadIdx.x == 0) kept = tile;
  const int past = a.past[tile.sequence];
  const RowSpan block_span = row_span(tile.first_row, kTile, tile.queries, past, a.group, a.window);
  const int first_unit = block_span.first_key / kUnitKeys;
  const int end_unit = block_span.last_key / kUnitKeys + 1;

  Stages<kType, kDim, kWarps, kCache> stages(a, tile.sequence, kv_head, block_span, memory, first_unit, end_unit);

  const int first_row = tile.first_row + warp * kTileRows;
  const int last_row = tile.queries * a.group - 1;
  // Registers are scarce in the loop: what only the masks need waits in shared memory.
  if (threadIdx.x < kTile) {
    const int row = tile.first_row + static_cast<int>(threadIdx.x);
    positions[threadIdx.x] = past + (row < last_row ? row : last_row) / a.group;
  }
  const RowSpan span = row_span(first_row, kTileRows, tile.queries, past, a.group, a.window);
  const int first_position = past + first_row / a.group;
  const bool has_rows = first_row <= last_row;
  const Units seen = has_rows ? Units{span.first_key / kUnitKeys, span.last_key / kUnitKeys} : Units{0, -1};
  const Units whole = {(first_key(span.last_key, a.window) + kUnitKeys - 1) / kUnitKeys,
                       (first_position + 1) / kUnitKeys - 1};
  std::uint32_t q[kDim / 16][4];
  load_queries<kDim>(QueryRows{a, tile.query_begin, tile.queries, kv_head}, first_row, lane, q);

  Sums<kDim> row;
  Sums<kDim> chunk;
  row.clear();
  chunk.clear();
  for (int unit = first_unit; unit < end_unit; ++unit) {
    const std::uint32_t stage = stages.next(a, unit);
    if (seen.has(unit)) {
      run_unit<kType, kDim>(q, stage, unit, !whole.has(unit), positions + warp * kTileRows, a.window, a.scale, lane,
                            chunk);
    }
    if (unit % kChunkUnits == kChunkUnits - 1 || unit + 1 == end_unit) {
      row.fold(chunk);
      chunk.clear();
    }
  }

  __syncthreads();
  store_rows<kType, kDim>(a, kept, kv_head, warp, lane, row);
}

/// Blocks of which some have nothing to do: every sequence of this kernel has at least split_queries + 1 tokens and
/// rounds up once.
std::int64_t count_blocks(const AttentionArguments& a, std::int32_t tokens, int tile_rows) {
  const int most = tokens / (a.split_queries + 1);
  const std::int64_t sequences = most < a.sequences ? most : a.sequences;
  return (static_cast<std::int64_t>(tokens) * a.group / tile_rows + sequences) * a.num_kv_heads;
}

template <Half kType, int kDim, int kWarps, CacheType kCache>
int launch_tiles(const AttentionArguments& a, std::int32_t tokens, Stream stream) {
  constexpr int kBytes = Stages<kType, kDim, kWarps, kCache>::kBytes;
  if (const int status = allow_shared_bytes<prefill_kernel<kType, kDim, kWarps, kCache>>(kBytes); status != 0)
    return status;
  const dim3 grid(static_cast<unsigned>(count_blocks(a, tokens, kWarps * kTileRows)));
  return launch(prefill_kernel<kType, kDim, kWarps, kCache>, grid, kWarps * 32, kBytes, stream, 1, a);
}

/// Large tiles read keys less often; small ones keep more multiprocessors busy. The bits are the same.
template <Half kType, int kDim, CacheType kCache>
int launch_some(const AttentionArguments& a, std::int32_t tokens, Stream stream) {
  constexpr std::int64_t kBusy = 256;
  if (count_blocks(a, tokens, 8 * kTileRows) >= kBusy) return launch_tiles<kType, kDim, 8, kCache>(a, tokens, stream);
  return launch_tiles<kType, kDim, 4, kCache>(a, tokens, stream);
}

}  // namespace

int launch_attention_prefill(Half type, const AttentionArguments& a, std::int32_t tokens, Stream stream) {
  return for_half_and_cache(type, a.cache_type, [&]<Half kType, CacheType kCache>() {
    return a.head_dim == 128 ? launch_some<kType, 128, kCache>(a, tokens, stream)
                             : launch_some<kType, 64, kCache>(a, tokens, stream);
  });
}

}  // namespace awq::kernels::cuda
