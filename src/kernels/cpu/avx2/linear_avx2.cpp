// Built with AVX2, FMA and F16C: includes nothing but kernel headers and intrinsics, so that no shared inline function
// is compiled for a processor that may not have them.
#include "kernels/cpu/avx2/linear_avx2.h"

#include <immintrin.h>

namespace awq::kernels::avx2 {
namespace {

float horizontal_sum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_movehdup_ps(s));
  return _mm_cvtss_f32(s);
}

struct LoadF32 {
  static constexpr int kBytes = 4;
  static __m256 load(const char* p) { return _mm256_loadu_ps(reinterpret_cast<const float*>(p)); }
  static float one(const char* p) { return *reinterpret_cast<const float*>(p); }
};
struct LoadBf16 {
  static constexpr int kBytes = 2;
  static __m256 load(const char* p) {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
  static float one(const char* p) {
    const int bits = static_cast<int>(*reinterpret_cast<const std::uint16_t*>(p)) << 16;
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits)));
  }
};
struct LoadF16 {
  static constexpr int kBytes = 2;
  static __m256 load(const char* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static float one(const char* p) { return _cvtsh_ss(*reinterpret_cast<const std::uint16_t*>(p)); }
};

/// One output for M rows of x. Two accumulators per row hide the latency of the FMA; more would spill at M = 8.
template <typename Load, int M>
void dense_one(const LinearArgs& a, std::int64_t n) {
  const char* w = static_cast<const char*>(a.weight) + n * a.k * Load::kBytes;
  __m256 sum[M][2];
  for (int m = 0; m < M; ++m) sum[m][0] = sum[m][1] = _mm256_setzero_ps();
  std::int64_t k = 0;
  for (; k + 16 <= a.k; k += 16) {
    _mm_prefetch(w + k * Load::kBytes + 2048, _MM_HINT_T0);
    const __m256 w0 = Load::load(w + k * Load::kBytes);
    const __m256 w1 = Load::load(w + (k + 8) * Load::kBytes);
    for (int m = 0; m < M; ++m) {
      const float* x = a.x + m * a.k + k;
      sum[m][0] = _mm256_fmadd_ps(_mm256_loadu_ps(x), w0, sum[m][0]);
      sum[m][1] = _mm256_fmadd_ps(_mm256_loadu_ps(x + 8), w1, sum[m][1]);
    }
  }
  for (int m = 0; m < M; ++m) {
    float total = horizontal_sum(_mm256_add_ps(sum[m][0], sum[m][1]));
    for (std::int64_t t = k; t < a.k; ++t) total += a.x[m * a.k + t] * Load::one(w + t * Load::kBytes);
    a.y[m * a.n + n] = a.bias != nullptr ? total + a.bias[n] : total;
  }
}

template <typename Load, int M>
void dense_rows(const LinearArgs& a, std::int64_t n_begin, std::int64_t n_end) {
  for (std::int64_t n = n_begin; n < n_end; ++n) dense_one<Load, M>(a, n);
}

using Rows = void (*)(const LinearArgs&, std::int64_t, std::int64_t);

template <typename Load>
void dense(const LinearArgs& a, std::int64_t n_begin, std::int64_t n_end) noexcept {
  static constexpr Rows kRows[kMaxRows] = {dense_rows<Load, 1>, dense_rows<Load, 2>, dense_rows<Load, 3>,
                                           dense_rows<Load, 4>, dense_rows<Load, 5>, dense_rows<Load, 6>,
                                           dense_rows<Load, 7>, dense_rows<Load, 8>};
  kRows[a.m - 1](a, n_begin, n_end);
}

const char* dense_supports(const LinearArgs&) { return nullptr; }

}  // namespace

const LinearKernel kF32 = {"linear_f32_f32_f32_avx2", WeightKind::kF32, 1, dense_supports, dense<LoadF32>};
const LinearKernel kBf16 = {"linear_f32_bf16_f32_avx2", WeightKind::kBf16, 1, dense_supports, dense<LoadBf16>};
const LinearKernel kF16 = {"linear_f32_f16_f32_avx2", WeightKind::kF16, 1, dense_supports, dense<LoadF16>};

}  // namespace awq::kernels::avx2
