// The body of the attention kernels, written once over a type of sixteen binary32 lanes (V) and compiled in each
// instruction-set file. Everything is in an anonymous namespace: each file keeps its own copy, built with its own
// flags.
//
// V has: set(f), load(const float*), store(float*), fma(a, b, c) = a * b + c, mul, sub, add, max, keep(v, a, b, fill)
// (lanes [a, b) of v, the others `fill`), largest(v), sum(v) (lanes 8 apart are added first, then 4, 2, 1), scale2(p,
// n) = p * 2^n for whole n, load_kv<type>(p, i): elements i .. i + 15 of a KV array, and first(x) and second(x): the
// halves of lanes that are pairs of bf16. Its constants kRows and kVectors are the tile that fits the registers. The
// loops over a step are functions of their own: merged into their callers some of them lose registers, a fifth of their
// speed.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/api/attention.h"
#include "kernels/cpu/exp_lanes.h"

namespace awq::kernels {
namespace {

constexpr float kMinusInfinity = -__builtin_inff();

template <typename V, KvType kType>
struct AttentionBody {
  static constexpr std::int64_t kBlocks = kAttentionStep / kKvBlockTokens;

  /// The keys of one step.
  struct Step {
    const std::byte* blocks[kBlocks];
    const std::byte* next[kBlocks];  ///< of the step behind it, or some that may be read
    std::int64_t begin = 0;
    std::int64_t count = 0;  ///< blocks that hold keys of the part
  };

  static V exp_nonpositive(V x) { return exp_nonpositive_lanes(x); }
  static float exp_nonpositive(float x) {
    float lanes[16];
    exp_nonpositive(V::set(x)).store(lanes);
    return lanes[0];
  }

  /// Blocks are runs of a few kilobytes in no order, which the processor's own prefetchers do not follow from one to
  /// the next. So while the first rows of a call read keys, the values at the same place are asked for, and while they
  /// read values the keys of the next step.
  static constexpr std::int64_t kPair = in_pairs(kType) ? 2 : 1;
  static constexpr std::int64_t kElementBytes = kv_element_bytes(kType);
  static void fetch(const std::byte* p, std::int64_t element) { __builtin_prefetch(p + element * kElementBytes, 0, 2); }

  /// Elements i .. i + 15 of a KV array, or sixteen pairs of one.
  static V load(const std::byte* p, std::int64_t i) {
    if constexpr (in_pairs(kType)) {
      return V::load(reinterpret_cast<const float*>(p + i * kElementBytes));
    } else {
      return V::template load_kv<kType>(p, i);
    }
  }

  /// The elements of such a vector, and of one of pairs the first (0) or the second ones (1).
  static V half(V v, int which) {
    if constexpr (in_pairs(kType)) return which == 0 ? V::first(v) : V::second(v);
    return v;
  }

  /// Scores of R rows against N blocks, the first of them `block`.
  template <int R, int N, bool kFetch>
  [[gnu::noinline]] static void scores(const AttentionArgs& a, const Step& step, std::int64_t row, std::int64_t block) {
    V sum[R][N];
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) sum[r][n] = V::set(0);
    }
    const std::int64_t dim = a.layout.head_dim;
    const float* q = a.q + row * dim;
    for (std::int64_t c = 0; c < dim; c += kPair) {
      const auto at = [&](int n) { return step.blocks[block + n]; };
      if constexpr (kFetch) {
        for (int n = 0; n < N; ++n) fetch(at(n) + a.layout.value_offset(), c * kKvBlockTokens);
      }
      V k[N];
      for (int n = 0; n < N; ++n) k[n] = load(at(n), c * kKvBlockTokens);
      for (int h = 0; h < kPair; ++h) {
        for (int r = 0; r < R; ++r) {
          const V x = V::set(q[r * dim + c + h]);
          for (int n = 0; n < N; ++n) sum[r][n] = V::fma(x, half(k[n], h), sum[r][n]);
        }
      }
    }
    for (int n = 0; n < N; ++n) {
      if constexpr (has_scales(kType)) {
        const auto* scales = reinterpret_cast<const float*>(step.blocks[block + n] + a.layout.scale_offset());
        for (int r = 0; r < R; ++r) sum[r][n] = V::mul(sum[r][n], V::load(scales));
      }
      for (int r = 0; r < R; ++r) {
        sum[r][n].store(a.scores + (row + r) * kAttentionStep + (block + n) * kKvBlockTokens);
      }
    }
  }

  template <int R, bool kFetch>
  static void scores_of_rows(const AttentionArgs& a, const Step& step, std::int64_t row) {
    std::int64_t block = 0;
    for (; block + V::kVectors <= step.count; block += V::kVectors) scores<R, V::kVectors, kFetch>(a, step, row, block);
    for (; block < step.count; ++block) scores<R, 1, kFetch>(a, step, row, block);
  }

  /// Turns the scores of a row into weights; keys [from, to) of the step are seen. Returns the factor for what was
  /// summed before.
  [[gnu::noinline]] static float soften(const AttentionArgs& a, const Step& step, std::int64_t row, std::int64_t from,
                                        std::int64_t to) {
    float* s = a.scores + row * kAttentionStep;
    V most = V::set(kMinusInfinity);
    for (std::int64_t b = 0; b < step.count; ++b) {
      most = V::max(most, V::keep(V::load(s + b * 16), from - b * 16, to - b * 16, kMinusInfinity));
    }
    const float before = a.largest[row];
    const float here = V::largest(most);
    const float m = before > here ? before : here;
    const float f = before == kMinusInfinity ? 0.0F : exp_nonpositive(before - m);
    V lanes = V::set(0);
    for (std::int64_t b = 0; b < kBlocks; ++b) {
      V p = V::set(0);
      if (b < step.count) {
        p = V::keep(exp_nonpositive(V::sub(V::load(s + b * 16), V::set(m))), from - b * 16, to - b * 16, 0);
      }
      lanes = b == 0 ? p : V::add(lanes, p);
      if constexpr (has_scales(kType)) {
        if (b < step.count) {
          const auto* scales = reinterpret_cast<const float*>(step.blocks[b] + a.layout.scale_offset());
          p = V::mul(p, V::load(scales + kKvBlockTokens));
        }
      }
      p.store(s + b * 16);
    }
    a.sum[row] = __builtin_fmaf(a.sum[row], f, V::sum(lanes));
    a.largest[row] = m;
    return f;
  }

  /// Adds weights times values of keys [from, to) to 16 * N channels from `channel` of R rows, kKeys keys at a time.
  template <int R, int N, bool kFetch, int kKeys>
  [[gnu::noinline]] static void add_values(const AttentionArgs& a, const Step& step, std::int64_t row,
                                           const float* factors, std::int64_t channel, std::int64_t from,
                                           std::int64_t to) {
    const std::int64_t dim = a.layout.padded_dim();
    V sum[R][N];
    for (int r = 0; r < R; ++r) {
      const V f = V::set(factors[r]);
      for (int n = 0; n < N; ++n) sum[r][n] = V::mul(V::load(a.out + (row + r) * dim + channel + n * 16), f);
    }
    const float* p = a.scores + row * kAttentionStep;
    for (std::int64_t j = from; j < to; j += kKeys) {
      const std::byte* values = step.blocks[j / kKvBlockTokens] + a.layout.value_offset();
      const std::int64_t at = a.layout.value_element(j % kKvBlockTokens / kPair * kPair, channel);
      V v[N];
      for (int n = 0; n < N; ++n) {
        if constexpr (kFetch) fetch(step.next[j / kKvBlockTokens], at + n * 16 * kPair);
        v[n] = load(values, at + n * 16 * kPair);
      }
      for (int h = 0; h < kKeys; ++h) {
        const int which = kKeys == kPair ? h : static_cast<int>(j % kPair);
        for (int r = 0; r < R; ++r) {
          const V x = V::set(p[r * kAttentionStep + j + h]);
          for (int n = 0; n < N; ++n) sum[r][n] = V::fma(x, half(v[n], which), sum[r][n]);
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int n = 0; n < N; ++n) sum[r][n].store(a.out + (row + r) * dim + channel + n * 16);
    }
  }

  template <int R, bool kFetch, int kKeys = kPair>
  static void add_values_of_rows(const AttentionArgs& a, const Step& step, std::int64_t row, const float* factors,
                                 std::int64_t from, std::int64_t to) {
    if constexpr (kKeys == 2) {
      if (from % 2 != 0 || to % 2 != 0) return add_values_of_rows<R, kFetch, 1>(a, step, row, factors, from, to);
    }
    const std::int64_t dim = a.layout.padded_dim();
    std::int64_t channel = 0;
    for (; channel + V::kVectors * 16 <= dim; channel += V::kVectors * 16) {
      add_values<R, V::kVectors, kFetch, kKeys>(a, step, row, factors, channel, from, to);
    }
    for (; channel < dim; channel += 16) add_values<R, 1, kFetch, kKeys>(a, step, row, factors, channel, from, to);
  }

  /// R rows, one step. Rows that see the same keys share what is loaded.
  template <int R, bool kFetch>
  static void rows_of_step(const AttentionArgs& a, const Step& step, std::int64_t row) {
    std::int64_t from[R], to[R];
    bool same = true;
    for (int r = 0; r < R; ++r) {
      const std::int64_t end = a.key_end < a.last[row + r] ? a.key_end : a.last[row + r];
      from[r] = a.first[row + r] > step.begin ? a.first[row + r] - step.begin : 0;
      to[r] = end - step.begin < kAttentionStep ? end - step.begin : kAttentionStep;
      same = same && from[r] == from[0] && to[r] == to[0];
    }
    if (same && from[0] >= to[0]) return;
    scores_of_rows<R, kFetch>(a, step, row);
    float factors[R];
    for (int r = 0; r < R; ++r) {
      if (from[r] < to[r]) factors[r] = soften(a, step, row + r, from[r], to[r]);
    }
    if (same) {
      add_values_of_rows<R, kFetch>(a, step, row, factors, from[0], to[0]);
      return;
    }
    for (int r = 0; r < R; ++r) {
      if (from[r] < to[r]) add_values_of_rows<1, kFetch>(a, step, row + r, factors + r, from[r], to[r]);
    }
  }

  template <int R>
  static void rows(const AttentionArgs& a, const Step& step, std::int64_t row) {
    return row == 0 ? rows_of_step<R, true>(a, step, row) : rows_of_step<R, false>(a, step, row);
  }

  static const std::byte* block_of_key(const AttentionArgs& a, std::int64_t key) {
    return a.head + a.blocks[key / kKvBlockTokens] * a.block_bytes;
  }

  static void run(const AttentionArgs& a) {
    const std::int64_t dim = a.layout.padded_dim();
    for (std::int64_t row = 0; row < a.rows; ++row) {
      a.largest[row] = kMinusInfinity;
      a.sum[row] = 0;
      for (std::int64_t c = 0; c < dim; c += 16) V::set(0).store(a.out + row * dim + c);
    }
    Step step;
    for (step.begin = a.key_begin; step.begin < a.key_end; step.begin += kAttentionStep) {
      const std::int64_t keys = a.key_end - step.begin < kAttentionStep ? a.key_end - step.begin : kAttentionStep;
      step.count = (keys + kKvBlockTokens - 1) / kKvBlockTokens;
      for (std::int64_t b = 0; b < step.count; ++b) {
        const std::int64_t key = step.begin + b * kKvBlockTokens;
        step.blocks[b] = block_of_key(a, key);
        step.next[b] = key + kAttentionStep < a.key_end ? block_of_key(a, key + kAttentionStep) : step.blocks[b];
      }
      std::int64_t row = 0;
      for (; row + V::kRows <= a.rows; row += V::kRows) rows<V::kRows>(a, step, row);
      if constexpr (V::kRows > 2) {
        if (a.rows - row == 3) {
          rows<3>(a, step, row);
          row += 3;
        }
      }
      if (a.rows - row == 2) {
        rows<2>(a, step, row);
        row += 2;
      }
      if (row < a.rows) rows<1>(a, step, row);
    }
  }
};

template <typename V>
void run_attention(const AttentionArgs& args) noexcept {
  switch (args.layout.type) {
    case KvType::kF32:
      return AttentionBody<V, KvType::kF32>::run(args);
    case KvType::kBf16:
      return AttentionBody<V, KvType::kBf16>::run(args);
    case KvType::kF16:
      return AttentionBody<V, KvType::kF16>::run(args);
    case KvType::kInt8:
      return AttentionBody<V, KvType::kInt8>::run(args);
    case KvType::kE4M3:
      return AttentionBody<V, KvType::kE4M3>::run(args);
  }
}

}  // namespace
}  // namespace awq::kernels
