#pragma once

#include <type_traits>

#include "kernels/cuda/attention_unit.cuh"
#include "kernels/cuda/kv_codes.cuh"

/// Units on their way from the cache to the shared memory of a block of prefill. For every unit in turn next() gives
/// the address of its keys and values as halves, [page][K, V], once they are there for all threads.
namespace awq::kernels::cuda {

/// Bytes of a unit's keys and values as halves.
template <int kDim>
inline constexpr int kUnitBytes = 2 * kUnitPages* kPageBytes<kDim>;

/// What a thread copies of every unit: pieces of 16 bytes of one page, keys and values one after the other.
template <int kDim, int kWarps, CacheType kCache>
struct Loader {
  static constexpr int kThreadsPerPage = kWarps * 32 / kUnitPages;
  static constexpr int kRowPieces = kDim * (kCache == CacheType::kHalf ? 2 : 1) / 16;  ///< of a token
  static constexpr int kPieces = 2 * kBlockTokens * kRowPieces;                        ///< of a page
  static constexpr int kTurns = kPieces / kThreadsPerPage;
  static constexpr int kScalePieces = kCache == CacheType::kHalf ? 0 : 4;
  static constexpr int kPageStride = (kPieces + kScalePieces) * 16;
  static_assert(kPageStride == kv_head_bytes(kCache, kDim));
  static_assert(kPieces % kThreadsPerPage == 0 && kThreadsPerPage % kRowPieces == 0);
  static_assert(kBlockTokens % (kThreadsPerPage / kRowPieces) == 0);

  const std::int32_t* blocks;   ///< of this thread's page in unit 0
  const unsigned char* source;  ///< this thread's first piece in block 0
  int slot;                     ///< the token of that piece in unit 0
  int first_key;
  int last_key;
  std::int32_t block;

  __device__ __forceinline__ Loader(const AttentionArguments& a, int sequence, int kv_head, RowSpan span)
      : first_key(span.first_key), last_key(span.last_key), block(0) {
    blocks = a.blocks + static_cast<std::int64_t>(sequence) * a.block_stride + page();
    source = a.cache + kv_page(kCache, 0, a.num_kv_heads, kv_head, kDim) + part() * 16;
    slot = page() * kBlockTokens + part() / kRowPieces;
  }
  static __device__ __forceinline__ int page() { return static_cast<int>(threadIdx.x) / kThreadsPerPage; }
  static __device__ __forceinline__ int part() { return static_cast<int>(threadIdx.x) % kThreadsPerPage; }
  static __device__ __forceinline__ std::uint32_t shared_offset() {
    return static_cast<std::uint32_t>(page() * kPageStride + part() * 16);
  }
  /// The token of piece `turn` of a unit.
  __device__ __forceinline__ int token(int unit, int turn) const {
    return unit * kUnitKeys + slot + turn * (kThreadsPerPage / kRowPieces) % kBlockTokens;
  }
  __device__ __forceinline__ bool sees(int token) const { return token >= first_key && token <= last_key; }
  __device__ __forceinline__ bool sees_page(int unit) const {
    const int token = unit * kUnitKeys + slot / kBlockTokens * kBlockTokens;
    return token <= last_key && token + kBlockTokens > first_key;
  }
  /// Reads the table for `unit`, ahead of copy().
  __device__ __forceinline__ void look_up(int unit) {
    // Blocks that nobody looks at may be gone from the table.
    if (sees_page(unit)) block = blocks[unit * kUnitPages];
  }
  /// `to` is where the unit shall lie plus shared_offset().
  __device__ __forceinline__ void copy(const AttentionArguments& a, int unit, std::uint32_t to) const {
    const unsigned char* from = source + kv_page(kCache, block, a.num_kv_heads, 0, kDim);
#pragma unroll
    for (int i = 0; i < kTurns; ++i) {
      const int piece = i * kThreadsPerPage;
      copy_async(to + piece * 16, from + piece * 16, sees(token(unit, i)));
    }
    if constexpr (kScalePieces > 0) {
      if (part() < kScalePieces) copy_async(to + kPieces * 16, from + kPieces * 16, sees_page(unit));
    }
  }
};

/// Halves, used where they are copied to; two units are on their way.
template <int kDim, int kWarps>
class HalfStages {
 public:
  static constexpr int kStages = 3;
  static constexpr int kBytes = kStages * kUnitBytes<kDim>;

  __device__ __forceinline__ HalfStages(const AttentionArguments& a, int sequence, int kv_head, RowSpan span,
                                        unsigned char* memory, int first_unit, int end_unit)
      : load_(a, sequence, kv_head, span),
        shared_(ptx::shared_address(memory)),
        stage_(kStages - 1),
        end_unit_(end_unit) {
    // One group of copies per stage, empty behind the last unit, so that the count of groups under way is always known.
    for (int s = 0; s < kStages - 1; ++s) {
      if (first_unit + s < end_unit) {
        load_.look_up(first_unit + s);
        load_.copy(a, first_unit + s, shared_ + s * kUnitBytes<kDim> + Load::shared_offset());
      }
      ptx::copy_commit();
    }
    load_.look_up(first_unit + kStages - 1);
  }
  __device__ __forceinline__ std::uint32_t next(const AttentionArguments& a, int unit) {
    ptx::copy_wait<kStages - 2>();
    __syncthreads();  // the unit is there for all, and all are done with the stage that the next copies overwrite
    const int ahead = unit + kStages - 1;
    if (ahead < end_unit_) {
      load_.copy(a, ahead, shared_ + stage_ * kUnitBytes<kDim> + Load::shared_offset());
      load_.look_up(ahead + 1);
    }
    ptx::copy_commit();
    stage_ = stage_ == kStages - 1 ? 0 : stage_ + 1;
    return shared_ + stage_ * kUnitBytes<kDim>;
  }

 private:
  using Load = Loader<kDim, kWarps, CacheType::kHalf>;
  Load load_;
  std::uint32_t shared_;
  int stage_;  ///< of the unit before
  int end_unit_;
};

/// Codes, which all threads widen together, once for all warps and one unit ahead of the products; one more unit is on
/// its way.
template <Half kType, int kDim, int kWarps, CacheType kCache>
class CodeStages {
  using Load = Loader<kDim, kWarps, kCache>;
  static constexpr int kCodeBytes = kUnitPages * Load::kPageStride;

 public:
  static constexpr int kBytes = 2 * kUnitBytes<kDim> + 2 * kCodeBytes;

  __device__ __forceinline__ CodeStages(const AttentionArguments& a, int sequence, int kv_head, RowSpan span,
                                        unsigned char* memory, int first_unit, int end_unit)
      : load_(a, sequence, kv_head, span), memory_(memory), turn_(1), end_unit_(end_unit) {
    for (int s = 0; s < 2; ++s) {
      if (first_unit + s < end_unit) {
        load_.look_up(first_unit + s);
        load_.copy(a, first_unit + s, codes(s));
      }
      ptx::copy_commit();
    }
    load_.look_up(first_unit + 2);
    ptx::copy_wait<1>();
    __syncthreads();
    widen(first_unit, 0);
  }
  __device__ __forceinline__ std::uint32_t next(const AttentionArguments& a, int unit) {
    ptx::copy_wait<0>();
    // The unit has been widened and the codes of the next one are there, for all; nobody reads the codes of this one
    // or the halves of the one before any more.
    __syncthreads();
    turn_ ^= 1;
    if (unit + 2 < end_unit_) {
      load_.copy(a, unit + 2, codes(turn_));
      load_.look_up(unit + 3);
    }
    ptx::copy_commit();
    if (unit + 1 < end_unit_) widen(unit + 1, turn_ ^ 1);
    return ptx::shared_address(memory_) + turn_ * kUnitBytes<kDim>;
  }

 private:
  __device__ __forceinline__ std::uint32_t codes(int turn) const {
    return ptx::shared_address(memory_) + 2 * kUnitBytes<kDim> + turn * kCodeBytes + Load::shared_offset();
  }
  /// The pieces that this thread copies, too.
  __device__ __forceinline__ void widen(int unit, int turn) const {
    const unsigned char* page = memory_ + 2 * kUnitBytes<kDim> + turn * kCodeBytes + Load::page() * Load::kPageStride;
    unsigned char* halves = memory_ + turn * kUnitBytes<kDim> + Load::page() * 2 * kPageBytes<kDim>;
#pragma unroll
    for (int i = 0; i < Load::kTurns; ++i) {
      const int piece = i * Load::kThreadsPerPage + Load::part();
      const int token = load_.token(unit, i);
      const int slot = token % kBlockTokens;
      const bool is_value = piece >= Load::kPieces / 2;
      const auto* scale = reinterpret_cast<const std::uint16_t*>(page + kv_scale_offset(kDim, is_value, slot));
      // A scale that no row looks at may be anything, NaN included.
      const std::uint32_t factors = load_.sees(token) ? code_factors<kType, kCache>(twice(*scale)) : 0;
      const uint4 codes = *reinterpret_cast<const uint4*>(page + piece * 16);
      uint4 low;
      uint4 high;
      widen_codes<kType, kCache>(codes.x, factors, low.x, high.x);
      widen_codes<kType, kCache>(codes.y, factors, low.y, high.y);
      widen_codes<kType, kCache>(codes.z, factors, low.z, high.z);
      widen_codes<kType, kCache>(codes.w, factors, low.w, high.w);
      const int chunk = (piece % Load::kRowPieces) ^ kv_code_turn(kDim, slot);
      unsigned char* side = halves + (is_value ? kPageBytes<kDim> : 0);
      auto* to_low = reinterpret_cast<uint4*>(side + 2 * kv_element(kDim, slot, chunk * 16));
      auto* to_high = reinterpret_cast<uint4*>(side + 2 * kv_element(kDim, slot, chunk * 16 + 8));
      // Eight lanes have eight chunks of a token, whose low parts alone would lie in half of the banks.
      const bool swap = (chunk & 4) != 0;
      *(swap ? to_high : to_low) = swap ? high : low;
      *(swap ? to_low : to_high) = swap ? low : high;
    }
  }

  Load load_;
  unsigned char* memory_;
  int turn_;  ///< of the unit that is being used
  int end_unit_;
};

template <Half kType, int kDim, int kWarps, CacheType kCache>
using Stages =
    std::conditional_t<kCache == CacheType::kHalf, HalfStages<kDim, kWarps>, CodeStages<kType, kDim, kWarps, kCache>>;

}  // namespace awq::kernels::cuda
