#include "kernels/cuda/attention_pages.cuh"
#include "kernels/cuda/rope_head.cuh"

/// Few new tokens per sequence: one block per (sequence, head of keys, 16 rows, chunk of 256 keys), one warp per unit
/// of 64 keys; a second kernel joins the chunks of a row. All query heads of a head of keys share its loads.
namespace awq::kernels::cuda {
namespace {

constexpr int kWarps = kChunkUnits;
constexpr int kThreads = kWarps * 32;

/// Four pages of halves, or eight of codes.
template <int kDim>
constexpr int kWarpBytes = kUnitPages* kPageBytes<kDim>;
/// From one row of a warp's sums in shared memory to the next: the rows of half a warp's stores lie in other banks.
template <int kDim>
constexpr int kRowFloats = kDim + 8;
static_assert(kTileRows * kRowFloats<128> * 4 <= kWarpBytes<128>);
static_assert(kTileRows * kRowFloats<64> * 4 <= kWarpBytes<64>);

/// One warp's unit: scores, weights and sums of values of 16 rows.
template <Half kType, int kDim, CacheType kCache, class Rows>
__device__ __forceinline__ void run_unit(const AttentionArguments& a, const Rows& rows, int queries, int past,
                                         int kv_head, int first_row, RowSpan span, int unit, std::int32_t block,
                                         std::uint32_t slots, float (&largest)[2], float (&sum)[2],
                                         float (&o)[kDim / 8][4]) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  CachedUnit<kType, kDim, kCache> cached(a, UnitPages(span, unit, block, lane), kv_head, slots);
  std::uint32_t q[kDim / 16][4];
  load_queries<kDim>(rows, first_row, lane, q);
  float s[kUnitKeys / 8][4];
  cached.score(q, s);

  const int last_row = queries * a.group - 1;
  int position[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = first_row + lane / 4 + half * 8;
    position[half] = past + (row < last_row ? row : last_row) / a.group;
  }
  if (!span.all_see_unit(unit, past + first_row / a.group, a.window)) mask_unit(s, unit, lane, position, a.window);
  std::uint32_t p[kUnitPages][4];
  weigh_unit<kType>(s, a.scale, largest, sum, p);

#pragma unroll
  for (int n = 0; n < kDim / 8; ++n) {
#pragma unroll
    for (int c = 0; c < 4; ++c) o[n][c] = 0;
  }
  const auto add_page = [&](int page) {
    __syncwarp();
    cached.add_page(page, p[page], o);
  };
  ptx::copy_wait<3>();
  add_page(0);
  ptx::copy_wait<2>();
  add_page(1);
  ptx::copy_wait<1>();
  add_page(2);
  ptx::copy_wait<0>();
  add_page(3);
  __syncwarp();  // the pages may be overwritten
}

/// Two neighbouring columns of a row's final result.
template <Half kType>
__device__ __forceinline__ void store_result(const AttentionArguments& a, std::int64_t token, int head, int column,
                                             float2 value, float sum) {
  const float inverse = inverse_sum(sum);
  std::uint16_t* to = a.out + (token * a.num_heads + head) * a.head_dim + column;
  *reinterpret_cast<std::uint32_t*>(to) =
      ptx::pack_halves<kType>(__fmul_rn(value.x, inverse), __fmul_rn(value.y, inverse));
}

/// Rows of one token that the block has rotated itself.
template <int kDim>
struct RotatedRows {
  const std::uint16_t* rotated;
  int group;

  __device__ __forceinline__ int count() const { return group; }
  __device__ __forceinline__ const std::uint16_t* operator()(int row) const { return rotated + row * kDim; }
};

/// One block's work. With `rotation`, q is not rotated yet and the new keys and values are not stored.
template <Half kType, int kDim, CacheType kCache, bool kRotates>
__device__ __forceinline__ void decode_block(const AttentionArguments& a, const RopeArguments* rotation) {
  AWQ_DYNAMIC_SHARED(pages, 1024);
  [[maybe_unused]] __shared__ std::uint32_t rotated[kRotates ? kTileRows * kDim / 2 : 1];
  __shared__ float unit_largest[kWarps][kTileRows];
  __shared__ float unit_sum[kWarps][kTileRows];
  __shared__ Fold folds[kWarps][kTileRows];
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const int sequence = static_cast<int>(blockIdx.z);
  const int kv_head = static_cast<int>(blockIdx.y) % a.num_kv_heads;
  const int first_row = static_cast<int>(blockIdx.y) / a.num_kv_heads * kTileRows;
  const int chunk = static_cast<int>(blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int unit = chunk * kChunkUnits + warp;
  // The table's entry is fetched together with what decides whether it is needed.
  const int entry = unit * kUnitPages + lane % kUnitPages;
  const std::int32_t block =
      entry < a.block_stride ? a.blocks[static_cast<std::int64_t>(sequence) * a.block_stride + entry] : 0;
  const int past = a.past[sequence];
  const int query_begin = a.query_begin[sequence];
  const int queries = a.query_begin[sequence + 1] - query_begin;
  if (queries > a.split_queries || first_row >= queries * a.group) return;
  const RowSpan span = row_span(first_row, kTileRows, queries, past, a.group, a.window);
  if (chunk < span.first_chunk() || chunk > span.last_chunk()) return;

  const auto rows = [&] {
    if constexpr (kRotates) {
      // The block with the newest keys stores the new ones before it reads them.
      auto* const to = reinterpret_cast<std::uint16_t*>(rotated);
      const int heads = a.group + (chunk == span.last_chunk() ? 2 : 0);
      for (int i = warp; i < heads; i += kWarps) {
        const int head = i < a.group ? kv_head * a.group + i : a.num_heads + (i - a.group) * a.num_kv_heads + kv_head;
        rotate_head<kType, 2, 1, kCache>(*rotation, query_begin, sequence, head, to + i * kDim);
      }
      __syncthreads();
      return RotatedRows<kDim>{to, a.group};
    } else {
      return QueryRows{a, query_begin, queries, kv_head};
    }
  }();

  unsigned char* slots = pages + warp * kWarpBytes<kDim>;
  if (span.sees_unit(unit)) {
    float largest[2];
    float sum[2];
    float o[kDim / 8][4];
    run_unit<kType, kDim, kCache>(a, rows, queries, past, kv_head, first_row, span, unit, block,
                                  ptx::shared_address(slots), largest, sum, o);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane / 4 + half * 8;
      if (lane % 4 == 0) {
        unit_largest[warp][row] = largest[half];
        unit_sum[warp][row] = sum[half];
      }
      float* to = reinterpret_cast<float*>(slots) + row * kRowFloats<kDim> + lane % 4 * 2;
#pragma unroll
      for (int n = 0; n < kDim / 8; ++n) {
        *reinterpret_cast<float2*>(to + n * 8) = make_float2(o[n][half * 2], o[n][half * 2 + 1]);
      }
    }
  }
  __syncthreads();

  // Units that no row sees are left out: they would not change a bit.
  const bool is_whole = span.first_chunk() == span.last_chunk();
  if (threadIdx.x < kTileRows) {
    const int row = static_cast<int>(threadIdx.x);
    float largest = -INFINITY;
    float sum = 0;
    for (int w = 0; w < kWarps; ++w) {
      if (!span.sees_unit(chunk * kChunkUnits + w)) continue;
      folds[w][row] = fold_weights(largest, sum, unit_largest[w][row], unit_sum[w][row]);
    }
    unit_largest[0][row] = largest;
    unit_sum[0][row] = sum;
  }
  __syncthreads();
  constexpr int kPairs = kDim / 2;
  const int column = static_cast<int>(threadIdx.x) % kPairs * 2;
  for (int row = static_cast<int>(threadIdx.x) / kPairs; first_row + row <= span.last_row; row += kThreads / kPairs) {
    float2 value = make_float2(0, 0);
    for (int w = 0; w < kWarps; ++w) {
      if (!span.sees_unit(chunk * kChunkUnits + w)) continue;
      const auto* sums = reinterpret_cast<const float*>(pages + w * kWarpBytes<kDim>);
      const float2 added = *reinterpret_cast<const float2*>(sums + row * kRowFloats<kDim> + column);
      value.x = fold_value(folds[w][row], value.x, added.x);
      value.y = fold_value(folds[w][row], value.y, added.y);
    }
    const int query = (first_row + row) / a.group;
    const int head = kv_head * a.group + (first_row + row) % a.group;
    if (is_whole) {
      store_result<kType>(a, query_begin + query, head, column, value, unit_sum[0][row]);
      continue;
    }
    const std::int64_t slot = partial_slot(a, sequence, query, head, chunk);
    *reinterpret_cast<float2*>(a.partial + slot * kDim + column) = value;
    if (column == 0) a.partial_weights[slot] = make_float2(unit_largest[0][row], unit_sum[0][row]);
  }
}

template <Half kType, int kDim, CacheType kCache>
__global__ void __launch_bounds__(kThreads, 3) decode_kernel(AttentionArguments a) {
  if constexpr (ptx::kBeforeSm80) return;  // launch_attention_plain() takes its place
  decode_block<kType, kDim, kCache, false>(a, nullptr);
}
template <Half kType, int kDim, CacheType kCache>
__global__ void __launch_bounds__(kThreads, 3) rotating_decode_kernel(const __grid_constant__ AttentionArguments a,
                                                                      const __grid_constant__ RopeArguments rotation) {
  if constexpr (ptx::kBeforeSm80) return;
  decode_block<kType, kDim, kCache, true>(a, &rotation);
}

/// Chunks whose partial results are on their way at once: a row should wait for memory once, not once per chunk.
constexpr int kCombineBatch = 16;

/// One block joins the chunks of a row, one thread per column.
template <Half kType, int kDim>
__global__ void __launch_bounds__(kDim) combine_kernel(AttentionArguments a) {
  ptx::wait_for_earlier_kernel();
  ptx::let_next_kernel_start();
  const int sequence = static_cast<int>(blockIdx.z);
  const int query = static_cast<int>(blockIdx.y);
  const int head = static_cast<int>(blockIdx.x);
  const int query_begin = a.query_begin[sequence];
  const int queries = a.query_begin[sequence + 1] - query_begin;
  if (queries > a.split_queries || query >= queries) return;
  const int first_row = (query * a.group + head % a.group) / kTileRows * kTileRows;
  const RowSpan span = row_span(first_row, kTileRows, queries, a.past[sequence], a.group, a.window);
  const int last = span.last_chunk();
  if (span.first_chunk() == last) return;
  const int column = static_cast<int>(threadIdx.x);
  const std::int64_t slot = partial_slot(a, sequence, query, head, 0);
  float largest = -INFINITY;
  float sum = 0;
  float value = 0;
  for (int first = span.first_chunk(); first <= last; first += kCombineBatch) {
    float2 weights[kCombineBatch];
    float added[kCombineBatch];
#pragma unroll
    for (int i = 0; i < kCombineBatch; ++i) {
      const std::int64_t chunk = slot + (first + i < last ? first + i : last);
      weights[i] = a.partial_weights[chunk];
      added[i] = a.partial[chunk * kDim + column];
    }
#pragma unroll
    for (int i = 0; i < kCombineBatch; ++i) {
      if (first + i > last) continue;
      const Fold fold = fold_weights(largest, sum, weights[i].x, weights[i].y);
      value = fold_value(fold, value, added[i]);
    }
  }
  a.out[((query_begin + static_cast<std::int64_t>(query)) * a.num_heads + head) * kDim + column] =
      ptx::to_half<kType>(__fmul_rn(value, inverse_sum(sum)));
}

/// The chunks, by `kernel` with its `arguments`, then what joins them.
template <Half kType, int kDim, auto kKernel, class... Arguments>
int launch_both(const AttentionArguments& a, Stream stream, const Arguments&... arguments) {
  constexpr int kBytes = kWarps * kWarpBytes<kDim>;
  if (const int status = allow_shared_bytes<kKernel>(kBytes); status != 0) return status;
  const int row_tiles = (a.split_queries * a.group + kTileRows - 1) / kTileRows;
  const auto sequences = static_cast<unsigned>(a.sequences);
  const dim3 grid(static_cast<unsigned>(a.chunks), static_cast<unsigned>(a.num_kv_heads * row_tiles), sequences);
  const int status = launch(kKernel, grid, kThreads, kBytes, stream, 1, a, arguments...);
  if (status != 0 || a.chunks == 1) return status;
  const dim3 rows(static_cast<unsigned>(a.num_heads), static_cast<unsigned>(a.split_queries), sequences);
  return launch(combine_kernel<kType, kDim>, rows, kDim, 0, stream, 1, a);
}

}  // namespace

int launch_attention_decode(Half type, const AttentionArguments& a, Stream stream) {
  return for_half_and_cache(type, a.cache_type, [&]<Half kType, CacheType kCache>() {
    return a.head_dim == 128 ? launch_both<kType, 128, decode_kernel<kType, 128, kCache>>(a, stream)
                             : launch_both<kType, 64, decode_kernel<kType, 64, kCache>>(a, stream);
  });
}

int launch_rotating_decode(Half type, const AttentionArguments& a, const RopeArguments& rotation, Stream stream) {
  return for_half_and_cache(type, a.cache_type, [&]<Half kType, CacheType kCache>() {
    return a.head_dim == 128 ? launch_both<kType, 128, rotating_decode_kernel<kType, 128, kCache>>(a, stream, rotation)
                             : launch_both<kType, 64, rotating_decode_kernel<kType, 64, kCache>>(a, stream, rotation);
  });
}

}  // namespace awq::kernels::cuda
