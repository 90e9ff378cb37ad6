#include "kernels/cpu/avx2/peak_avx2.h"

#include <immintrin.h>

namespace awq::kernels::avx2 {
namespace {

// Latency 4 times two instructions per cycle need 8 independent sums; the rest is slack.
constexpr int kSums = 12;

float run_f32(std::int64_t steps) noexcept {
  __m256 sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i + 1));
  const __m256 a = _mm256_set1_ps(0.999F);
  const __m256 b = _mm256_set1_ps(0.001F);
  for (std::int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = _mm256_fmadd_ps(sums[i], a, b);
  }
  __m256 total = sums[0];
  for (int i = 1; i < kSums; ++i) total = _mm256_add_ps(total, sums[i]);
  return _mm256_cvtss_f32(total);
}

/// As a 4-bit kernel does it: products of bytes added in pairs, then to 16-bit sums, which hold eight of them; one
/// widening to 32 bits per eight.
float run_int8(std::int64_t steps) noexcept {
  constexpr int kChains = 4;
  __m256i wide[kChains];
  __m256i left[kChains];
  for (int i = 0; i < kChains; ++i) {
    wide[i] = _mm256_set1_epi32(i);
    left[i] = _mm256_set1_epi8(static_cast<char>(i + 3));
  }
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i right = _mm256_set1_epi8(5);
  for (std::int64_t step = 0; step < steps; ++step) {
    __m256i narrow[kChains];
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i) narrow[i] = _mm256_maddubs_epi16(left[i], right);
#pragma GCC unroll 7
    for (int j = 1; j < 8; ++j) {
      __asm__("" : "+x"(right));  // else the products of all eight rounds would be one
#pragma GCC unroll 4
      for (int i = 0; i < kChains; ++i) {
        narrow[i] = _mm256_add_epi16(narrow[i], _mm256_maddubs_epi16(left[i], right));
      }
    }
#pragma GCC unroll 4
    for (int i = 0; i < kChains; ++i) wide[i] = _mm256_add_epi32(wide[i], _mm256_madd_epi16(narrow[i], ones));
    __asm__("" : "+x"(right));
  }
  __m256i total = wide[0];
  for (int i = 1; i < kChains; ++i) total = _mm256_add_epi32(total, wide[i]);
  return static_cast<float>(_mm256_extract_epi32(total, 0));
}

}  // namespace

const PeakKernel kPeakF32 = {"peak_f32_avx2_fma", "fp32", 1, false, 2LL * kSums * 8, run_f32};
const PeakKernel kPeakInt8 = {"peak_int8_avx2_maddubs", "int8", 1, false, 2LL * 4 * 8 * 32, run_int8};

}  // namespace awq::kernels::avx2
