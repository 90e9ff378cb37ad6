// Sixteen binary32 lanes for the bodies in kernels/cpu, for files built with AVX2.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/api/attention.h"

namespace awq::kernels::avx2 {
namespace {

struct V {
  static constexpr int kRows = 2;
  static constexpr int kVectors = 2;
  __m256 low, high;

  static V set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static V load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  void store(float* p) const {
    _mm256_storeu_ps(p, low);
    _mm256_storeu_ps(p + 8, high);
  }
  static V fma(V a, V b, V c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static V mul(V a, V b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
  static V add(V a, V b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
  static V sub(V a, V b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
  static V max(V a, V b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }

  /// All bits of the lanes in [a, b), which start at lane `first`.
  static __m256 between(std::int64_t a, std::int64_t b, int first) {
    const __m256i lane =
        _mm256_setr_epi32(first, first + 1, first + 2, first + 3, first + 4, first + 5, first + 6, first + 7);
    const auto cut = [](std::int64_t n) { return _mm256_set1_epi32(static_cast<int>(n < 0 ? 0 : n > 16 ? 16 : n)); };
    return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpgt_epi32(cut(a), lane), _mm256_cmpgt_epi32(cut(b), lane)));
  }
  static V keep(V x, std::int64_t a, std::int64_t b, float fill) {
    const __m256 other = _mm256_set1_ps(fill);
    return {_mm256_blendv_ps(other, x.low, between(a, b, 0)), _mm256_blendv_ps(other, x.high, between(a, b, 8))};
  }
  static V zero_below(V result, V x, V limit) {
    return {_mm256_and_ps(result.low, _mm256_cmp_ps(x.low, limit.low, _CMP_NLT_UQ)),
            _mm256_and_ps(result.high, _mm256_cmp_ps(x.high, limit.high, _CMP_NLT_UQ))};
  }
  static __m256 scale2(__m256 p, __m256 n) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
  }
  static V scale2(V p, V n) { return {scale2(p.low, n.low), scale2(p.high, n.high)}; }
  static float largest(V x) {
    const __m256 eight = _mm256_max_ps(x.low, x.high);
    const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
  }
  static float sum(V x) {
    const __m256 eight = _mm256_add_ps(x.low, x.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  template <KvType kType>
  static __m256 load_half(const std::byte* p, std::int64_t i) {
    if constexpr (kType == KvType::kF32) {
      return _mm256_loadu_ps(reinterpret_cast<const float*>(p) + i);
    } else if constexpr (kType == KvType::kInt8) {
      return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + i))));
    } else if constexpr (kType == KvType::kE4M3) {
      const __m256i codes = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + i)));
      const __m256i bits = _mm256_and_si256(_mm256_slli_epi32(codes, 20), _mm256_set1_epi32(kE4M3Bits));
      return _mm256_mul_ps(_mm256_castsi256_ps(bits), _mm256_set1_ps(0x1p120F));
    } else {
      static_assert(kType == KvType::kF16);
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 2 * i)));
    }
  }
  template <KvType kType>
  static V load_kv(const std::byte* p, std::int64_t i) {
    return {load_half<kType>(p, i), load_half<kType>(p, i + 8)};
  }

  static __m256 first(__m256 x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(x), 16)); }
  static __m256 second(__m256 x) {
    return _mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(0xFFFF0000U))));
  }
  static V first(V x) { return {first(x.low), first(x.high)}; }
  static V second(V x) { return {second(x.low), second(x.high)}; }

  static V divide(V a, V b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
  static V negative_magnitude(V x) {
    const __m256 sign = _mm256_set1_ps(-0.0F);
    return {_mm256_or_ps(x.low, sign), _mm256_or_ps(x.high, sign)};
  }
  static V where_negative(V x, V a, V b) {
    const __m256 zero = _mm256_setzero_ps();
    return {_mm256_blendv_ps(b.low, a.low, _mm256_cmp_ps(x.low, zero, _CMP_LT_OQ)),
            _mm256_blendv_ps(b.high, a.high, _mm256_cmp_ps(x.high, zero, _CMP_LT_OQ))};
  }
  /// Sums of squares of sixteen lanes in binary64.
  struct Squares {
    __m256d sum[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd()};
    void add(V x) {
      const __m128 quarter[4] = {_mm256_castps256_ps128(x.low), _mm256_extractf128_ps(x.low, 1),
                                 _mm256_castps256_ps128(x.high), _mm256_extractf128_ps(x.high, 1)};
      for (int i = 0; i < 4; ++i) {
        const __m256d d = _mm256_cvtps_pd(quarter[i]);
        sum[i] = _mm256_fmadd_pd(d, d, sum[i]);
      }
    }
    void store(double* to) const {
      for (int i = 0; i < 4; ++i) _mm256_storeu_pd(to + 4 * i, sum[i]);
    }
  };
};

}  // namespace
}  // namespace awq::kernels::avx2
