#pragma once

// The loop over inputs that all vector kernels for dense weights share; instantiated like packed_tile.h.

#include <cstdint>

#include "kernels/api/linear.h"

namespace awq::kernels {

/// Weights of one kind as vectors of floats.
template <class V, WeightKind kKind>
struct DenseLoad {
  static constexpr std::int64_t kBytes = kKind == WeightKind::kF32 ? 4 : 2;
  using Input = float;
  static const Input* inputs(const LinearArgs& a) { return a.x; }
  template <class Halves>
  static auto widen(Halves halves) {
    if constexpr (kKind == WeightKind::kBf16) return V::from_bf16(halves);
    if constexpr (kKind == WeightKind::kF16) return V::from_f16(halves);
  }
  static auto load(const char* p) {
    if constexpr (kKind == WeightKind::kF32) {
      return V::load(reinterpret_cast<const float*>(p));
    } else {
      return widen(V::load_halves(p));
    }
  }
  static auto load_some(const char* p, std::int64_t count) {
    if constexpr (kKind == WeightKind::kF32) {
      return V::load_some(reinterpret_cast<const float*>(p), count);
    } else {
      return widen(V::some_halves(p, count));
    }
  }
};

template <class V, int kCount>
inline void dense_sums(const typename V::Floats* v, float* out) {
  if constexpr (requires { V::template sums<kCount>(v, out); }) {
    V::template sums<kCount>(v, out);
  } else {
    for (int i = 0; i < kCount; ++i) out[i] = V::sum(v[i]);
  }
}

/// kRows rows of x times kOutputs outputs, the first of them n, the others `apart` outputs after each other. One vector
/// of sums for each, whatever the tile, so that a result depends on neither; enough of them run side by side to hide
/// the latency of a product. With kFetch the weights of the next tile are asked for on the way.
///
/// V provides kLanes, the inputs of a vector; Floats, a vector of sums; zero(); multiply_add(a, b, c) of inputs,
/// weights and sums; load(p) and load_some(p, count) of inputs; sum(v) of the lanes, or sums<count>(v, out) of many
/// vectors; and, where Load is DenseLoad, of 16-bit numbers load_halves(p), some_halves(p, count), from_bf16(halves)
/// and from_f16(halves). What lies behind `count` counts as zero.
template <class V, class Load, int kRows, int kOutputs, bool kFetch>
inline void dense_tile(const LinearArgs& a, std::int64_t row, std::int64_t n, std::int64_t apart) {
  constexpr std::int64_t kLanes = V::kLanes;
  constexpr std::int64_t kLine = 64 / Load::kBytes;  // weights of a cache line
  constexpr int kSecondLevel = 2;                    // in the first, rows of 4 KB would push each other out
  using Floats = typename V::Floats;
  const std::int64_t row_bytes = a.k * Load::kBytes;
  const std::int64_t stride = apart * row_bytes;
  const char* w = static_cast<const char*>(a.weight) + n * row_bytes;
  const typename Load::Input* x = Load::inputs(a) + row * a.k;
  Floats sum[kRows][kOutputs];
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kOutputs; ++o) sum[r][o] = V::zero();
  }
  const auto step = [&](std::int64_t k) {
    if constexpr (kRows <= kOutputs) {
      decltype(V::load(x)) inputs[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) inputs[r] = V::load(x + r * a.k + k);
#pragma GCC unroll 8
      for (int o = 0; o < kOutputs; ++o) {
        const auto weights = Load::load(w + o * stride + k * Load::kBytes);
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) sum[r][o] = V::multiply_add(inputs[r], weights, sum[r][o]);
      }
    } else {
      decltype(Load::load(w)) weights[kOutputs];
#pragma GCC unroll 8
      for (int o = 0; o < kOutputs; ++o) weights[o] = Load::load(w + o * stride + k * Load::kBytes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const auto inputs = V::load(x + r * a.k + k);
#pragma GCC unroll 8
        for (int o = 0; o < kOutputs; ++o) sum[r][o] = V::multiply_add(inputs, weights[o], sum[r][o]);
      }
    }
  };
  std::int64_t k = 0;
  for (; k + kLine <= a.k; k += kLine) {
    if constexpr (kFetch) {
      for (int o = kOutputs; o < 2 * kOutputs; ++o) {
        __builtin_prefetch(w + o * stride + k * Load::kBytes, 0, kSecondLevel);
      }
    }
#pragma GCC unroll 4
    for (std::int64_t at = 0; at < kLine; at += kLanes) step(k + at);
  }
  for (; k + kLanes <= a.k; k += kLanes) step(k);
  if (k < a.k) {
    const std::int64_t left = a.k - k;
    for (int o = 0; o < kOutputs; ++o) {
      const auto weights = Load::load_some(w + o * stride + k * Load::kBytes, left);
      for (int r = 0; r < kRows; ++r) {
        sum[r][o] = V::multiply_add(V::load_some(x + r * a.k + k, left), weights, sum[r][o]);
      }
    }
  }
  float totals[kRows * kOutputs];
  dense_sums<V, kRows * kOutputs>(&sum[0][0], totals);
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kOutputs; ++o) {
      const float total = totals[r * kOutputs + o];
      const std::int64_t output = n + o * apart;
      a.y[(row + r) * a.n + output] = a.bias != nullptr ? total + a.bias[output] : total;
    }
  }
}

/// Rows [row, row + kRows) and all outputs of a tile. Outputs of one row lie apart, so that each reads one run of
/// memory from its first weight to its last, which a processor's prefetchers follow.
template <class V, class Load, int kRows, bool kFetch>
inline void dense_outputs(const LinearArgs& a, std::int64_t row, std::int64_t n_begin, std::int64_t n_end) {
  constexpr int kOutputs = V::kOutputs[kRows - 1];
  std::int64_t n = n_begin;
  if constexpr (kRows == 1) {
    const std::int64_t each = (n_end - n_begin) / kOutputs;
    for (; n < n_begin + each; ++n) dense_tile<V, Load, kRows, kOutputs, kFetch>(a, row, n, each);
    n = n_begin + each * kOutputs;
  } else {
    for (; n + kOutputs <= n_end; n += kOutputs) dense_tile<V, Load, kRows, kOutputs, kFetch>(a, row, n, 1);
  }
  for (; n < n_end; ++n) dense_tile<V, Load, kRows, 1, false>(a, row, n, 1);
}

/// V::kOutputs says how many outputs go beside 1, 2, 3 and 4 rows: as many streams of weights as pay for one row, what
/// the registers hold for several. Beyond four rows a few outputs go to all of them, four at a time, while their
/// weights are in the first cache.
template <class V, class Load>
inline void dense_run(const LinearArgs& a, std::int64_t n_begin, std::int64_t n_end) noexcept {
  using Outputs = void (*)(const LinearArgs&, std::int64_t, std::int64_t, std::int64_t);
  constexpr std::int64_t kMostRows = 4;
  // Memory streams best by itself beside one row.
  static constexpr Outputs kFirst[kMostRows] = {dense_outputs<V, Load, 1, false>, dense_outputs<V, Load, 2, true>,
                                                dense_outputs<V, Load, 3, true>, dense_outputs<V, Load, 4, true>};
  static constexpr Outputs kAgain[kMostRows] = {dense_outputs<V, Load, 1, false>, dense_outputs<V, Load, 2, false>,
                                                dense_outputs<V, Load, 3, false>, dense_outputs<V, Load, 4, false>};
  const std::int64_t parts = (a.m + kMostRows - 1) / kMostRows;
  const std::int64_t together = parts == 1 ? n_end - n_begin : V::kOutputs[(a.m + parts - 1) / parts - 1];
  for (std::int64_t n = n_begin; n < n_end; n += together) {
    const std::int64_t end = n + together < n_end ? n + together : n_end;
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t begin = a.m * part / parts;
      const std::int64_t rows = a.m * (part + 1) / parts - begin;
      const Outputs run = part == 0 && !a.weights_near ? kFirst[rows - 1] : kAgain[rows - 1];
      run(a, begin, n, end);
    }
  }
}

}  // namespace awq::kernels
