// Attention with vdpbf16ps: queries, keys, weights and values rounded to bf16, sums in binary32. On Zen 4 one such
// product does twice the work of a multiply-add. Its operands are pairs: neighbouring channels of a query and of a key,
// neighbouring keys of a row of weights and of a channel of values. A cache of BF16 holds them so. Of other types many
// rows first turn the keys and values of a step into pairs, in scratch that the first-level cache holds; for few rows
// that would cost more than it saves.
//
// Built with AVX-512 F, BW, VL, DQ, VNNI and BF16: kernel headers and intrinsics only.
#include "kernels/cpu/avx512bf16/attention_avx512bf16.h"

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/avx512/lanes.h"

namespace awq::kernels::avx512bf16 {
namespace {

using avx512::V;

constexpr int kRows = 4;     // of a tile
constexpr int kVectors = 4;  // of a tile, of sixteen sums each
constexpr std::int64_t kStepBlocks = kAttentionStep / kKvBlockTokens;
static_assert(kStepBlocks == kVectors);
// Up to this many rows take keys and values as they lie; more of them share the work of turning them into pairs.
constexpr std::int64_t kFewRows = 2 * kRows;
constexpr float kMinusInfinity = -__builtin_inff();
constexpr float kLog2E = 1.44269504088896341F;
constexpr float kLn2 = 0.693147180559945309F;

constexpr std::int64_t smaller(std::int64_t a, std::int64_t b) { return a < b ? a : b; }
constexpr std::int64_t larger(std::int64_t a, std::int64_t b) { return a < b ? b : a; }
__m512bh as_bf16(__m512i v) { return reinterpret_cast<__m512bh>(v); }
__m512i as_bits(__m512bh v) { return reinterpret_cast<__m512i>(v); }
__m512bh load_pairs(const void* p) { return as_bf16(_mm512_loadu_si512(p)); }
void store_pairs(std::uint16_t* p, __m512bh pairs) { _mm512_storeu_si512(p, as_bits(pairs)); }
constexpr __mmask32 kFirst = 0x55555555;  ///< of each pair
/// The pair at `p` in every lane.
__m512bh set_pair(const std::uint16_t* p) {
  std::int32_t pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  return as_bf16(_mm512_set1_epi32(pair));
}

/// Elements i .. i + 15 and j .. j + 15 of a KV array, the first in the lower half.
template <KvType kType>
__m512i load_halves(const std::byte* p, std::int64_t i, std::int64_t j) {
  return as_bits(_mm512_cvtne2ps_pbh(V::load_kv<kType>(p, j).v, V::load_kv<kType>(p, i).v));
}

/// Element n of the lower half beside element n of the upper one.
__m512i interleave(__m512i halves) {
  static constexpr std::uint16_t kOrder[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                               8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_loadu_si512(kOrder), halves);
}

/// 2^x for x <= 0: 2^floor(x) times a polynomial of degree 4 of the rest, 1 at 0 and 2 at 1, relative error 2^-18.
__m512 exp2_nonpositive(__m512 x) {
  const __m512 rest = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 p = _mm512_set1_ps(0.0135557475F);
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(0.0520323701F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(0.241379768F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(0.693032146F));
  p = _mm512_fmadd_ps(p, rest, _mm512_set1_ps(1.0F));
  return _mm512_scalef_ps(p, x);
}

/// Where things lie in AttentionArgs::pairs.
struct Scratch {
  float* sums;             ///< [rows][16] of weights, keys modulo 16
  std::uint16_t* q;        ///< [rows][head_dim]
  std::uint16_t* weights;  ///< [rows][kAttentionStep]
  std::uint16_t* keys;     ///< [head_dim / 2][kAttentionStep][2 channels]
  std::uint16_t* values;   ///< [kAttentionStep / 2][padded_dim][2 keys]

  explicit Scratch(const AttentionArgs& a)
      : sums(reinterpret_cast<float*>(a.pairs)),
        q(a.pairs + kMaxAttentionRows * 32),
        weights(q + kMaxAttentionRows * a.layout.head_dim),
        keys(weights + kMaxAttentionRows * kAttentionStep),
        values(keys + a.layout.head_dim * kAttentionStep) {}
};

/// The keys of one step.
struct Step {
  const std::byte* keys[kStepBlocks];    ///< of each block
  const std::byte* values[kStepBlocks];  ///< of each block
  const std::byte* next[kStepBlocks];    ///< keys of the step behind it, or some that may be read
  std::int64_t value_offset = 0;         ///< from a block's keys to its values
  std::int64_t begin = 0;
  std::int64_t count = 0;  ///< blocks that hold keys of the part
  std::int64_t from = 0;   ///< first key of the step that some row sees
  std::int64_t to = 0;     ///< the one behind the last
};

template <KvType kType>
struct Body {
  static constexpr std::int64_t kBytes = kv_element_bytes(kType);

  /// Channels c and c + 1 of the keys of a block, side by side.
  static __m512bh key_pairs(const std::byte* block, std::int64_t c) {
    const std::int64_t at = c * kKvBlockTokens;
    if constexpr (in_pairs(kType)) {
      return load_pairs(block + at * kBytes);
    } else {
      return as_bf16(interleave(load_halves<kType>(block, at, at + kKvBlockTokens)));
    }
  }
  /// The values of 16 channels and of a token of even number and the next, side by side; `at` are the first token's.
  static __m512bh value_pairs(const std::byte* at, std::int64_t dim) {
    if constexpr (in_pairs(kType)) {
      return load_pairs(at);
    } else {
      return as_bf16(interleave(load_halves<kType>(at, 0, dim)));
    }
  }
  /// Bytes from one pair of tokens to the next, and from 16 channels of a pair to the next.
  static std::int64_t pair_stride(std::int64_t dim) { return 2 * dim * kBytes; }
  static constexpr std::int64_t kChannelStride = (in_pairs(kType) ? 32 : 16) * kBytes;

  /// Turns the step into pairs. Keys outside [from, to) get values of zero: what lies there may be anything.
  static void expand(const AttentionArgs& a, const Step& step, const Scratch& s) {
    for (int n = 0; n < step.count; ++n) {
      std::uint16_t* to = s.keys + n * 32;
      for (std::int64_t c = 0; c < a.layout.head_dim; c += 2) {
        store_pairs(to + c * kAttentionStep, key_pairs(step.keys[n], c));
      }
    }
    const std::int64_t dim = a.layout.padded_dim();
    std::uint16_t* to = s.values + step.from / 2 * dim * 2;
    for (std::int64_t key = step.from / 2 * 2; key < step.to; key += 2) {
      const std::byte* at = step.values[key / kKvBlockTokens] + key % kKvBlockTokens / 2 * pair_stride(dim);
      const __mmask32 seen = (key >= step.from ? kFirst : 0) | (key + 1 < step.to ? ~kFirst : 0);
      for (std::int64_t c = 0; c < dim; c += 16, at += kChannelStride, to += 32) {
        store_pairs(to, as_bf16(_mm512_maskz_mov_epi16(seen, as_bits(value_pairs(at, dim)))));
      }
    }
  }

  static void fetch(const std::byte* p, std::int64_t element) { __builtin_prefetch(p + element * kBytes, 0, 2); }

  /// Weights of R rows, in `s`, and the factors for what was summed before. The first rows of a call ask for the next
  /// step's keys.
  template <int R, bool kFetch, bool kExpanded>
  [[gnu::noinline]] static void weigh(const AttentionArgs& a, const Step& step, const Scratch& s, std::int64_t row,
                                      float* factors) {
    __m512 score[R][kVectors];
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < kVectors; ++n) score[r][n] = _mm512_setzero_ps();
    }
    const std::byte* keys[kVectors];
    for (int n = 0; n < kVectors; ++n) keys[n] = step.keys[n];
    const std::int64_t dim = a.layout.head_dim;
    const std::uint16_t* q = s.q + row * dim;
    for (std::int64_t c = 0; c < dim; c += 2) {
      __m512bh k[kVectors];
      for (int n = 0; n < kVectors; ++n) {
        k[n] = kExpanded ? load_pairs(s.keys + c * kAttentionStep + n * 32) : key_pairs(keys[n], c);
      }
      if constexpr (kFetch) {
        for (int n = 0; n < kVectors; ++n) {
          fetch(step.next[n], c * kKvBlockTokens);
          if constexpr (kBytes == 4) fetch(step.next[n], (c + 1) * kKvBlockTokens);
        }
      }
      for (int r = 0; r < R; ++r) {
        const __m512bh x = set_pair(q + r * dim + c);
        for (int n = 0; n < kVectors; ++n) score[r][n] = _mm512_dpbf16_ps(score[r][n], x, k[n]);
      }
    }
    if constexpr (has_scales(kType)) {
      for (int n = 0; n < step.count; ++n) {
        const auto* scales = reinterpret_cast<const float*>(step.keys[n] + a.layout.scale_offset());
        for (int r = 0; r < R; ++r) score[r][n] = _mm512_mul_ps(score[r][n], _mm512_loadu_ps(scales));
      }
    }
    std::int64_t from[R], to[R];
    float most[R];
    for (int r = 0; r < R; ++r) {
      from[r] = a.first[row + r] - step.begin;
      to[r] = smaller(a.key_end, a.last[row + r]) - step.begin;
      if (from[r] > 0 || to[r] < kAttentionStep) {
        for (int n = 0; n < kVectors; ++n) {
          score[r][n] = V::keep({score[r][n]}, from[r] - n * 16, to[r] - n * 16, kMinusInfinity).v;
        }
      }
      most[r] = _mm512_reduce_max_ps(
          _mm512_max_ps(_mm512_max_ps(score[r][0], score[r][1]), _mm512_max_ps(score[r][2], score[r][3])));
    }
    for (int r = 0; r < R; ++r) {
      std::uint16_t* weights = s.weights + (row + r) * kAttentionStep;
      if (larger(0, from[r]) >= smaller(to[r], kAttentionStep)) {  // sees nothing here
        for (int n = 0; n < kVectors; n += 2) _mm512_storeu_si512(weights + n * 16, _mm512_setzero_si512());
        factors[r] = 1;
        continue;
      }
      const float before = a.largest[row + r];
      const float m = before > most[r] ? before : most[r];
      factors[r] = before == m ? 1.0F : _mm512_cvtss_f32(exp2_nonpositive(_mm512_set1_ps(before - m)));
      a.largest[row + r] = m;
      __m512 sum[kVectors];
      for (int n = 0; n < kVectors; ++n) {
        __m512 p = exp2_nonpositive(_mm512_sub_ps(score[r][n], _mm512_set1_ps(m)));
        sum[n] = p;
        if constexpr (has_scales(kType)) {
          if (n < step.count) {
            const auto* scales = reinterpret_cast<const float*>(step.keys[n] + a.layout.scale_offset());
            p = _mm512_mul_ps(p, _mm512_loadu_ps(scales + kKvBlockTokens));
            p = V::keep({p}, from[r] - n * 16, to[r] - n * 16, 0).v;
          }
        }
        const __m256i rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(p));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(weights + n * 16), rounded);
        if constexpr (!has_scales(kType)) {
          sum[n] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16));
        }
      }
      const __m512 here = _mm512_add_ps(_mm512_add_ps(sum[0], sum[1]), _mm512_add_ps(sum[2], sum[3]));
      float* sums = s.sums + (row + r) * 16;
      _mm512_storeu_ps(sums, _mm512_fmadd_ps(_mm512_loadu_ps(sums), _mm512_set1_ps(factors[r]), here));
    }
  }

  /// Adds weights times values to 16 * N channels from `channel` of R rows.
  template <int R, int N, bool kFetch, bool kExpanded>
  [[gnu::noinline]] static void add_values(const AttentionArgs& a, const Step& step, const Scratch& s, std::int64_t row,
                                           const float* factors, std::int64_t channel) {
    const std::int64_t dim = a.layout.padded_dim();
    __m512 sum[R][N];
    for (int r = 0; r < R; ++r) {
      const __m512 f = _mm512_set1_ps(factors[r]);
      for (int n = 0; n < N; ++n) {
        sum[r][n] = _mm512_mul_ps(_mm512_loadu_ps(a.out + (row + r) * dim + channel + n * 16), f);
      }
    }
    const std::uint16_t* weights = s.weights + row * kAttentionStep;
    const std::int64_t stride = pair_stride(dim);
    // A pair of each block in turn: memory answers four runs at once sooner than one after the other.
    for (std::int64_t slot = 0, at = channel / 16 * kChannelStride; slot < kKvBlockTokens; slot += 2, at += stride) {
      for (int block = 0; block < kStepBlocks; ++block) {
        const std::int64_t key = block * kKvBlockTokens + slot;
        if (key + 1 < step.from || key >= step.to) continue;
        __m512bh v[N];
        for (int n = 0; n < N; ++n) {
          v[n] = kExpanded ? load_pairs(s.values + (key / 2 * dim + channel + n * 16) * 2)
                           : value_pairs(step.values[block] + at + n * kChannelStride, dim);
        }
        if constexpr (kFetch) {  // both tokens' channels are N * 32 elements, side by side or a row apart
          const std::byte* next = step.next[block] + step.value_offset + at;
          for (int n = 0; n < N; n += static_cast<int>(4 / kBytes)) {
            __builtin_prefetch(next + n * 16 * kBytes, 0, 2);
            __builtin_prefetch(next + (in_pairs(kType) ? N * 16 : dim) * kBytes + n * 16 * kBytes, 0, 2);
          }
        }
        for (int r = 0; r < R; ++r) {
          const __m512bh x = set_pair(weights + r * kAttentionStep + key);
          for (int n = 0; n < N; ++n) sum[r][n] = _mm512_dpbf16_ps(sum[r][n], x, v[n]);
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) _mm512_storeu_ps(a.out + (row + r) * dim + channel + n * 16, sum[r][n]);
    }
  }

  template <int R, bool kFetch, bool kExpanded>
  static void rows_of_step(const AttentionArgs& a, const Step& step, const Scratch& s, std::int64_t row) {
    float factors[R];
    weigh<R, kFetch, kExpanded>(a, step, s, row, factors);
    const std::int64_t dim = a.layout.padded_dim();
    std::int64_t channel = 0;
    for (; channel + kVectors * 16 <= dim; channel += kVectors * 16) {
      add_values<R, kVectors, kFetch, kExpanded>(a, step, s, row, factors, channel);
    }
    for (; channel < dim; channel += 16) add_values<R, 1, kFetch, kExpanded>(a, step, s, row, factors, channel);
  }

  template <int R, bool kExpanded>
  static void rows(const AttentionArgs& a, const Step& step, const Scratch& s, std::int64_t row) {
    return row == 0 ? rows_of_step<R, true, kExpanded>(a, step, s, row)
                    : rows_of_step<R, false, kExpanded>(a, step, s, row);
  }

  template <bool kExpanded>
  static void all_rows(const AttentionArgs& a, const Step& step, const Scratch& s) {
    std::int64_t row = 0;
    for (; row + kRows <= a.rows; row += kRows) rows<kRows, kExpanded>(a, step, s, row);
    switch (a.rows - row) {
      case 3:
        return rows<3, kExpanded>(a, step, s, row);
      case 2:
        return rows<2, kExpanded>(a, step, s, row);
      case 1:
        return rows<1, kExpanded>(a, step, s, row);
      default:
        return;
    }
  }

  static const std::byte* block_of_key(const AttentionArgs& a, std::int64_t key) {
    return a.head + a.blocks[key / kKvBlockTokens] * a.block_bytes;
  }

  /// Queries in bf16, for scores whose weights are powers of two.
  static void round_q(const AttentionArgs& a, const Scratch& s) {
    const std::int64_t count = a.rows * a.layout.head_dim;
    for (std::int64_t i = 0; i < count; i += 16) {
      const auto in = static_cast<__mmask16>(V::below(count - i));
      const __m512 x = _mm512_mul_ps(_mm512_maskz_loadu_ps(in, a.q + i), _mm512_set1_ps(kLog2E));
      _mm256_mask_storeu_epi16(s.q + i, in, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
    }
  }

  static void run(const AttentionArgs& a) {
    const Scratch s(a);
    const std::int64_t dim = a.layout.padded_dim();
    std::int64_t first = a.first[0], last = a.last[0];
    for (std::int64_t row = 0; row < a.rows; ++row) {
      a.largest[row] = kMinusInfinity;
      _mm512_storeu_ps(s.sums + row * 16, _mm512_setzero_ps());
      for (std::int64_t c = 0; c < dim; c += 16) _mm512_storeu_ps(a.out + row * dim + c, _mm512_setzero_ps());
      first = smaller(first, a.first[row]);
      last = larger(last, a.last[row]);
    }
    last = smaller(last, a.key_end);
    round_q(a, s);
    Step step{.value_offset = a.layout.value_offset()};
    for (step.begin = a.key_begin; step.begin < last; step.begin += kAttentionStep) {
      step.from = larger(0, first - step.begin);
      step.to = smaller(last - step.begin, kAttentionStep);
      if (step.from >= step.to) continue;
      step.count = (step.to + kKvBlockTokens - 1) / kKvBlockTokens;
      for (std::int64_t b = 0; b < kStepBlocks; ++b) {
        const std::int64_t key = step.begin + smaller(b, step.count - 1) * kKvBlockTokens;
        step.keys[b] = block_of_key(a, key);
        step.values[b] = step.keys[b] + step.value_offset;
        step.next[b] = key + kAttentionStep < last ? block_of_key(a, key + kAttentionStep) : step.keys[b];
      }
      // A pair of which one half must not be looked at is made by expand().
      const bool whole = step.from % 2 == 0 && step.to % 2 == 0;
      if (whole && (in_pairs(kType) || a.rows <= kFewRows)) {
        all_rows<false>(a, step, s);
      } else {
        expand(a, step, s);
        all_rows<true>(a, step, s);
      }
    }
    for (std::int64_t row = 0; row < a.rows; ++row) {
      a.largest[row] *= kLn2;
      a.sum[row] = V::sum({_mm512_loadu_ps(s.sums + row * 16)});
    }
  }
};

void run(const AttentionArgs& args) noexcept {
  switch (args.layout.type) {
    case KvType::kF32:
      return Body<KvType::kF32>::run(args);
    case KvType::kBf16:
      return Body<KvType::kBf16>::run(args);
    case KvType::kF16:
      return Body<KvType::kF16>::run(args);
    case KvType::kInt8:
      return Body<KvType::kInt8>::run(args);
    case KvType::kE4M3:
      return Body<KvType::kE4M3>::run(args);
  }
}

}  // namespace

const AttentionKernel kAttention = {"attention_avx512bf16", 3, true, run};

}  // namespace awq::kernels::avx512bf16
