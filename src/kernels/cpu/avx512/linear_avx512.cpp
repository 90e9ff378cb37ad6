// Built with AVX-512 F, BW, VL and DQ: kernel headers and intrinsics only.
#include "kernels/cpu/avx512/linear_avx512.h"

#include <immintrin.h>

namespace awq::kernels::avx512 {
namespace {

struct LoadF32 {
  static constexpr std::int64_t kBytes = 4;
  static __m512 load(const char* p, __mmask16 valid) { return _mm512_maskz_loadu_ps(valid, p); }
  static __m512 load(const char* p) { return _mm512_loadu_ps(p); }
};
struct LoadBf16 {
  static constexpr std::int64_t kBytes = 2;
  static __m512 widen(__m256i half) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16)); }
  static __m512 load(const char* p, __mmask16 valid) { return widen(_mm256_maskz_loadu_epi16(valid, p)); }
  static __m512 load(const char* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
};
struct LoadF16 {
  static constexpr std::int64_t kBytes = 2;
  static __m512 load(const char* p, __mmask16 valid) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(valid, p)); }
  static __m512 load(const char* p) { return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
};

/// kOutputs outputs for kRows rows of x. Two sums for each, whatever the tile, so that a result depends on neither.
template <typename Load, int kRows, int kOutputs>
void dense_tile(const LinearArgs& a, std::int64_t n) {
  const std::int64_t stride = a.k * Load::kBytes;
  const char* w = static_cast<const char*>(a.weight) + n * stride;
  __m512 sum[kRows][kOutputs][2];
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kOutputs; ++o) sum[r][o][0] = sum[r][o][1] = _mm512_setzero_ps();
  }
  std::int64_t k = 0;
  for (; k + 32 <= a.k; k += 32) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const std::int64_t at = k + 16 * half;
      __m512 weights[kOutputs];
#pragma GCC unroll 4
      for (int o = 0; o < kOutputs; ++o) {
        const char* from = w + o * stride + at * Load::kBytes;
        if (half == 0 || Load::kBytes == 4) _mm_prefetch(from + 1024, _MM_HINT_T0);
        weights[o] = Load::load(from);
      }
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512 x = _mm512_loadu_ps(a.x + r * a.k + at);
#pragma GCC unroll 4
        for (int o = 0; o < kOutputs; ++o) sum[r][o][half] = _mm512_fmadd_ps(x, weights[o], sum[r][o][half]);
      }
    }
  }
  for (int half = 0; half < 2 && k < a.k; ++half, k += 16) {
    const std::int64_t left = a.k - k;
    const auto valid = static_cast<__mmask16>(left >= 16 ? 0xFFFF : (1 << left) - 1);
    for (int o = 0; o < kOutputs; ++o) {
      const __m512 weights = Load::load(w + o * stride + k * Load::kBytes, valid);
      for (int r = 0; r < kRows; ++r) {
        const __m512 x = _mm512_maskz_loadu_ps(valid, a.x + r * a.k + k);
        sum[r][o][half] = _mm512_fmadd_ps(x, weights, sum[r][o][half]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kOutputs; ++o) {
      const float total = _mm512_reduce_add_ps(_mm512_add_ps(sum[r][o][0], sum[r][o][1]));
      a.y[r * a.n + n + o] = a.bias != nullptr ? total + a.bias[n + o] : total;
    }
  }
}

template <typename Load, int kRows>
void dense_rows(const LinearArgs& a, std::int64_t n_begin, std::int64_t n_end) {
  constexpr int kOutputs = kRows <= 2 ? 4 : kRows <= 4 ? 2 : 1;  // up to 16 sums; beyond, registers run out
  std::int64_t n = n_begin;
  for (; n + kOutputs <= n_end; n += kOutputs) dense_tile<Load, kRows, kOutputs>(a, n);
  for (; n < n_end; ++n) dense_tile<Load, kRows, 1>(a, n);
}

template <typename Load>
void dense(const LinearArgs& a, std::int64_t n_begin, std::int64_t n_end) noexcept {
  using Rows = void (*)(const LinearArgs&, std::int64_t, std::int64_t);
  static constexpr Rows kRows[kMaxRows] = {dense_rows<Load, 1>, dense_rows<Load, 2>, dense_rows<Load, 3>,
                                           dense_rows<Load, 4>, dense_rows<Load, 5>, dense_rows<Load, 6>,
                                           dense_rows<Load, 7>, dense_rows<Load, 8>};
  kRows[a.m - 1](a, n_begin, n_end);
}

const char* always(const LinearArgs&) { return nullptr; }

}  // namespace

const LinearKernel kF32 = {"linear_f32_f32_f32_avx512", WeightKind::kF32, 2, always, dense<LoadF32>};
const LinearKernel kBf16 = {"linear_f32_bf16_f32_avx512", WeightKind::kBf16, 2, always, dense<LoadBf16>};
const LinearKernel kF16 = {"linear_f32_f16_f32_avx512", WeightKind::kF16, 2, always, dense<LoadF16>};

}  // namespace awq::kernels::avx512
