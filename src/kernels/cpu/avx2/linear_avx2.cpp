// Built with AVX2, FMA and F16C: includes nothing but kernel headers and intrinsics, so that no shared inline function
// is compiled for a processor that may not have them.
#include "kernels/cpu/avx2/linear_avx2.h"

#include <immintrin.h>

#include "kernels/cpu/dense_tile.h"

namespace awq::kernels::avx2 {
namespace {

float horizontal_sum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  s = _mm_add_ss(s, _mm_movehdup_ps(s));
  return _mm_cvtss_f32(s);
}

struct Vector {
  static constexpr std::int64_t kLanes = 8;
  static constexpr int kOutputs[] = {4, 6, 4, 3};
  using Floats = __m256;
  static Floats zero() { return _mm256_setzero_ps(); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static Floats load_some(const float* p, std::int64_t count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane));
  }
  static float sum(Floats v) { return horizontal_sum(v); }

  using Halves = __m128i;
  static Halves load_halves(const char* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static Halves some_halves(const char* p, std::int64_t count) {
    alignas(16) std::uint16_t values[8] = {};
    __builtin_memcpy(values, p, static_cast<std::size_t>(count) * sizeof(std::uint16_t));
    return _mm_load_si128(reinterpret_cast<const __m128i*>(values));
  }
  static Floats from_bf16(Halves halves) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
  }
  static Floats from_f16(Halves halves) { return _mm256_cvtph_ps(halves); }
};

const char* always(const LinearArgs&) { return nullptr; }

}  // namespace

const LinearKernel kF32 = {"linear_f32_f32_f32_avx2", WeightKind::kF32, 1, always,
                           dense_run<Vector, DenseLoad<Vector, WeightKind::kF32>>};
const LinearKernel kBf16 = {"linear_f32_bf16_f32_avx2", WeightKind::kBf16, 1, always,
                            dense_run<Vector, DenseLoad<Vector, WeightKind::kBf16>>};
const LinearKernel kF16 = {"linear_f32_f16_f32_avx2", WeightKind::kF16, 1, always,
                           dense_run<Vector, DenseLoad<Vector, WeightKind::kF16>>};

}  // namespace awq::kernels::avx2
