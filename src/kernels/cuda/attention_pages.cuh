#pragma once

#include <type_traits>

#include "kernels/cuda/attention_unit.cuh"
#include "kernels/cuda/kv_codes.cuh"

/// What one warp of decode reads: the keys and values of a unit, copied to shared memory, and the products with them.
/// Both kinds of cache give the tensor cores the same halves in the same order.
namespace awq::kernels::cuda {

/// The pages of a unit that a warp looks at; `block` is the entry of the table of page lane % kUnitPages.
struct UnitPages {
  int first_token;
  RowSpan span;
  int lane;
  std::int32_t block;

  __device__ __forceinline__ UnitPages(RowSpan seen, int unit, std::int32_t entry, int own_lane)
      : first_token(unit * kUnitKeys), span(seen), lane(own_lane), block(entry) {
    // Blocks that nobody looks at may be gone from the table.
    const int page_token = first_token + lane % kUnitPages * kBlockTokens;
    if (page_token > span.last_key || page_token + kBlockTokens <= span.first_key) block = 0;
  }
  template <CacheType kCache, int kDim>
  __device__ __forceinline__ const unsigned char* page(const AttentionArguments& a, int kv_head, int index) const {
    return a.cache + kv_page(kCache, __shfl_sync(0xffffffffU, block, index), a.num_kv_heads, kv_head, kDim);
  }
};

/// Copies the keys or the values of 16 tokens of kRowBytes each; zeros where no row looks.
template <int kRowBytes>
__device__ __forceinline__ void copy_page(std::uint32_t to, const unsigned char* from, int first_token, RowSpan span,
                                          int lane) {
#pragma unroll
  for (int i = 0; i < kBlockTokens * kRowBytes / 512; ++i) {
    const int piece = i * 32 + lane;
    const int token = first_token + piece / (kRowBytes / 16);
    copy_async(to + piece * 16, from + piece * 16, span.has_key(token));
  }
}

/// `slots` holds four pages: first the keys, and then each page of values in the place of the page of keys that has
/// been used.
template <Half kType, int kDim>
class HalfUnit {
 public:
  __device__ __forceinline__ HalfUnit(const AttentionArguments& a, const UnitPages& unit, int kv_head,
                                      std::uint32_t slots)
      : unit_(unit), slots_(slots) {
#pragma unroll
    for (int page = 0; page < kUnitPages; ++page) {
      pages_[page] = unit.page<CacheType::kHalf, kDim>(a, kv_head, page);
      copy_page<kRow>(slots_ + page * kPage, pages_[page], token_of(page), unit_.span, unit_.lane);
      ptx::copy_commit();
    }
  }
  __device__ __forceinline__ void score(const std::uint32_t (&q)[kDim / 16][4], float (&s)[kUnitKeys / 8][4]) {
    const std::uint32_t keys = slots_ + key_lane_offset<kDim>(unit_.lane);
    static_assert(kUnitPages == 4);
    ptx::copy_wait<2>();
    __syncwarp();  // the other lanes' copies have arrived, too
    score_pages<kType, kDim, 2>(q, keys, kPage, 0, s);
    __syncwarp();  // nobody reads these keys any more
    copy_values(0);
    copy_values(1);
    ptx::copy_wait<2>();
    __syncwarp();
    score_pages<kType, kDim, 2>(q, keys, kPage, 2, s);
    __syncwarp();
    copy_values(2);
    copy_values(3);
  }
  __device__ __forceinline__ void add_page(int page, const std::uint32_t (&p)[4], float (&o)[kDim / 8][4]) const {
    const std::uint32_t values = slots_ + value_lane_offset<kDim>(unit_.lane) + page * kPage;
#pragma unroll
    for (int i = 0; i < kDim / 16; ++i) add_values<kType>(p, values, i, o[2 * i], o[2 * i + 1]);
  }

 private:
  static constexpr int kPage = kPageBytes<kDim>;
  static constexpr int kRow = kDim * 2;

  __device__ __forceinline__ int token_of(int page) const { return unit_.first_token + page * kBlockTokens; }
  __device__ __forceinline__ void copy_values(int page) const {
    copy_page<kRow>(slots_ + page * kPage, pages_[page] + kPage, token_of(page), unit_.span, unit_.lane);
    ptx::copy_commit();
  }

  UnitPages unit_;
  std::uint32_t slots_;
  const unsigned char* pages_[kUnitPages];
};

/// `slots` holds four pages of codes of keys and then four of values, all on their way at once. A lane keeps the scales
/// of tokens 2 lane and 2 lane + 1 of the unit.
template <Half kType, int kDim, CacheType kCache>
class CodeUnit {
 public:
  __device__ __forceinline__ CodeUnit(const AttentionArguments& a, const UnitPages& unit, int kv_head,
                                      std::uint32_t slots)
      : lane_(unit.lane), codes_(slots + lane_offset(unit.lane)) {
    const unsigned char* pages[kUnitPages];
#pragma unroll
    for (int page = 0; page < kUnitPages; ++page) pages[page] = unit.page<kCache, kDim>(a, kv_head, page);
#pragma unroll
    for (int side = 0; side < 2; ++side) {
#pragma unroll
      for (int page = 0; page < kUnitPages; ++page) {
        copy_page<kDim>(slots + (side * kUnitPages + page) * kPage, pages[page] + side * kPage,
                        unit.first_token + page * kBlockTokens, unit.span, lane_);
        ptx::copy_commit();
      }
    }
    constexpr int kLanesPerPage = kBlockTokens / 2;
    const int slot = lane_ % kLanesPerPage * 2;
    const unsigned char* own = unit.page<kCache, kDim>(a, kv_head, lane_ / kLanesPerPage);
    const int token = unit.first_token + 2 * lane_;
    // A scale that no row looks at may be anything, NaN included.
    const std::uint32_t seen =
        (unit.span.has_key(token) ? 0x0000ffffU : 0) | (unit.span.has_key(token + 1) ? 0xffff0000U : 0);
    key_scales_ = *reinterpret_cast<const std::uint32_t*>(own + kv_scale_offset(kDim, false, slot)) & seen;
    value_scales_ = *reinterpret_cast<const std::uint32_t*>(own + kv_scale_offset(kDim, true, slot)) & seen;
  }
  __device__ __forceinline__ void score(const std::uint32_t (&q)[kDim / 16][4], float (&s)[kUnitKeys / 8][4]) {
    key_scales_ = code_factors<kType, kCache>(key_scales_);
    value_scales_ = code_factors<kType, kCache>(value_scales_);
    static_assert(kUnitPages == 4);
    ptx::copy_wait<6>();
    __syncwarp();  // the other lanes' copies have arrived, too
    score_two_pages(q, 0, s);
    ptx::copy_wait<4>();
    __syncwarp();
    score_two_pages(q, 2, s);
  }
  __device__ __forceinline__ void add_page(int page, const std::uint32_t (&p)[4], float (&o)[kDim / 8][4]) const {
    const std::uint32_t values = codes_ + (kUnitPages + page) * kPage;
    // Lane 4 g + t holds the weights of tokens 2 t, 2 t + 1 and of those eight further.
    const std::uint32_t low = __shfl_sync(0xffffffffU, value_scales_, page * 8 + lane_ % 4);
    const std::uint32_t high = __shfl_sync(0xffffffffU, value_scales_, page * 8 + 4 + lane_ % 4);
#pragma unroll
    for (int i = 0; i < kDim / 32; ++i) {
      std::uint32_t words[4];
      load_matrices_transposed(words, values ^ (i * 32));
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        std::uint32_t b[2][2];  // [columns 0-7, 8-15 of the chunk][tokens 0-7, 8-15]
        widen_codes<kType, kCache>(words[2 * c], low, b[0][0], b[1][0]);
        widen_codes<kType, kCache>(words[2 * c + 1], high, b[0][1], b[1][1]);
        ptx::mma<kType, false>(o[4 * i + 2 * c], p, b[0][0], b[0][1]);
        ptx::mma<kType, false>(o[4 * i + 2 * c + 1], p, b[1][0], b[1][1]);
      }
    }
  }

 private:
  static constexpr int kPage = kBlockTokens * kDim;

  /// A lane's row of matrices: tokens 0-7 and 8-15 of a chunk, then of the next one. Chunks 2 i further are at this
  /// address xor 32 i: pages begin at multiples of 128 bytes.
  static __device__ __forceinline__ std::uint32_t lane_offset(int lane) {
    return static_cast<std::uint32_t>(kv_code(kDim, lane / 8 % 2 * 8 + lane % 8, lane / 16 * 16));
  }
  /// Factor of key lane / 4 of eight, in both halves.
  __device__ __forceinline__ std::uint32_t key_factor(int eight) const {
    const std::uint32_t pair = __shfl_sync(0xffffffffU, key_scales_, eight * 4 + lane_ / 8);
    return twice(lane_ / 4 % 2 == 0 ? pair : pair >> 16);
  }
  __device__ __forceinline__ void score_two_pages(const std::uint32_t (&q)[kDim / 16][4], int first,
                                                  float (&s)[kUnitKeys / 8][4]) const {
    std::uint32_t factors[4];
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      factors[n] = key_factor(2 * first + n);
      float* sums = s[2 * first + n];
      sums[0] = sums[1] = sums[2] = sums[3] = 0;
    }
#pragma unroll
    for (int i = 0; i < kDim / 32; ++i) {
      std::uint32_t words[2][4];
#pragma unroll
      for (int page = 0; page < 2; ++page) {
        ptx::load_matrices((codes_ + (first + page) * kPage) ^ (i * 32), words[page]);
      }
#pragma unroll
      for (int c = 0; c < 2; ++c) {
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          std::uint32_t b[2];
          widen_codes<kType, kCache>(words[n / 2][2 * c + n % 2], factors[n], b[0], b[1]);
          ptx::mma<kType, false>(s[2 * first + n], q[2 * i + c], b[0], b[1]);
        }
      }
    }
  }

  int lane_;
  std::uint32_t codes_;
  std::uint32_t key_scales_;
  std::uint32_t value_scales_;
};

template <Half kType, int kDim, CacheType kCache>
using CachedUnit = std::conditional_t<kCache == CacheType::kHalf, HalfUnit<kType, kDim>, CodeUnit<kType, kDim, kCache>>;

}  // namespace awq::kernels::cuda
