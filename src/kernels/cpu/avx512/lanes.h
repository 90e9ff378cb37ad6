// Sixteen binary32 lanes for the bodies in kernels/cpu, for files built with AVX-512.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/api/attention.h"

namespace awq::kernels::avx512 {
namespace {

struct V {
  static constexpr int kRows = 4;
  static constexpr int kVectors = 4;
  __m512 v;

  static V set(float x) { return {_mm512_set1_ps(x)}; }
  static V load(const float* p) { return {_mm512_loadu_ps(p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  static V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static V mul(V a, V b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static V add(V a, V b) { return {_mm512_add_ps(a.v, b.v)}; }
  static V sub(V a, V b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static V max(V a, V b) { return {_mm512_max_ps(a.v, b.v)}; }

  /// Bits of the lanes [0, n), n cut to 0 .. 16.
  static unsigned below(std::int64_t n) { return n <= 0 ? 0U : n >= 16 ? 0xFFFFU : (1U << n) - 1U; }
  static V keep(V x, std::int64_t a, std::int64_t b, float fill) {
    const auto mask = static_cast<__mmask16>(below(b) & ~below(a));
    return {_mm512_mask_blend_ps(mask, _mm512_set1_ps(fill), x.v)};
  }
  static V zero_below(V result, V x, V limit) {
    return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_NLT_UQ), result.v)};
  }
  static V scale2(V p, V n) {
    const __m512i exponent = _mm512_slli_epi32(_mm512_cvtps_epi32(n.v), 23);
    return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p.v), exponent))};
  }
  static float largest(V x) { return _mm512_reduce_max_ps(x.v); }
  static float sum(V x) {
    const __m256 high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(x.v), 1));
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(x.v), high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  template <KvType kType>
  static V load_kv(const std::byte* p, std::int64_t i) {
    if constexpr (kType == KvType::kF32) {
      return {_mm512_loadu_ps(reinterpret_cast<const float*>(p) + i)};
    } else if constexpr (kType == KvType::kInt8) {
      const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i));
      return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes))};
    } else if constexpr (kType == KvType::kE4M3) {
      const __m512i codes = _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i)));
      const __m512i bits = _mm512_and_si512(_mm512_slli_epi32(codes, 20), _mm512_set1_epi32(kE4M3Bits));
      return {_mm512_mul_ps(_mm512_castsi512_ps(bits), _mm512_set1_ps(0x1p120F))};
    } else {
      static_assert(kType == KvType::kF16);
      return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 2 * i)))};
    }
  }
  static V first(V x) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(x.v), 16))}; }
  static V second(V x) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
    return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x.v), upper))};
  }

  static V divide(V a, V b) { return {_mm512_div_ps(a.v, b.v)}; }
  static V negative_magnitude(V x) { return {_mm512_or_ps(x.v, _mm512_set1_ps(-0.0F))}; }
  static V where_negative(V x, V a, V b) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, _mm512_setzero_ps(), _CMP_LT_OQ), b.v, a.v)};
  }
  /// Sums of squares of sixteen lanes in binary64.
  struct Squares {
    __m512d low = _mm512_setzero_pd(), high = _mm512_setzero_pd();
    void add(V x) {
      const __m512d a = _mm512_cvtps_pd(_mm512_castps512_ps256(x.v));
      const __m512d b = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1));
      low = _mm512_fmadd_pd(a, a, low);
      high = _mm512_fmadd_pd(b, b, high);
    }
    void store(double* to) const {
      _mm512_storeu_pd(to, low);
      _mm512_storeu_pd(to + 8, high);
    }
  };
};

}  // namespace
}  // namespace awq::kernels::avx512
