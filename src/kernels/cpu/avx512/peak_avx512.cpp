#include "kernels/cpu/avx512/peak_avx512.h"

#include <immintrin.h>

// Each function names the instructions that it needs beyond those of the folder, so that none of them slips into a
// function that a smaller processor runs.
namespace awq::kernels::avx512 {
namespace {

// Latencies of up to 6 cycles times two instructions per cycle; more sums than that cost nothing.
constexpr int kSums = 14;

float first_lane(__m512 v) noexcept {
  float lanes[16];
  _mm512_storeu_ps(lanes, v);
  return lanes[0];
}

float run_f32(std::int64_t steps) noexcept {
  __m512 sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i + 1));
  const __m512 a = _mm512_set1_ps(0.999F);
  const __m512 b = _mm512_set1_ps(0.001F);
  for (std::int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 14
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_fmadd_ps(sums[i], a, b);
  }
  __m512 total = sums[0];
  for (int i = 1; i < kSums; ++i) total = _mm512_add_ps(total, sums[i]);
  return first_lane(total);
}

__attribute__((target("avx512bf16"))) float run_bf16(std::int64_t steps) noexcept {
  __m512 sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i + 1));
  const auto a = (__m512bh)_mm512_set1_epi32(0x3F003E80);                              // 0.5 and 0.25
  const auto b = (__m512bh)_mm512_set1_epi32(static_cast<std::int32_t>(0x3E80BE00U));  // 0.25 and -0.125
  for (std::int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 14
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], a, b);
  }
  __m512 total = sums[0];
  for (int i = 1; i < kSums; ++i) total = _mm512_add_ps(total, sums[i]);
  return first_lane(total);
}

__attribute__((target("avx512vnni"))) float run_int8(std::int64_t steps) noexcept {
  __m512i sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = _mm512_set1_epi32(i);
  const __m512i a = _mm512_set1_epi8(3);
  const __m512i b = _mm512_set1_epi8(-5);
  for (std::int64_t step = 0; step < steps; ++step) {
#pragma GCC unroll 14
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
  }
  __m512i total = sums[0];
  for (int i = 1; i < kSums; ++i) total = _mm512_add_epi32(total, sums[i]);
  std::int32_t lanes[16];
  _mm512_storeu_si512(lanes, total);
  return static_cast<float>(lanes[0]);
}

}  // namespace

const PeakKernel kPeakF32 = {"peak_f32_avx512_fma", "fp32", 2, false, 2LL * kSums * 16, run_f32};
const PeakKernel kPeakBf16 = {"peak_bf16_avx512_dot", "bf16", 3, true, 2LL * kSums * 32, run_bf16};
const PeakKernel kPeakInt8 = {"peak_int8_avx512_vnni", "int8", 3, false, 2LL * kSums * 64, run_int8};

}  // namespace awq::kernels::avx512
