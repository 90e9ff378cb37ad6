// Built with AVX-512 F, BW, VL and DQ: kernel headers and intrinsics only.
#include "kernels/cpu/avx512/linear_avx512.h"

#include <immintrin.h>

#include "kernels/cpu/dense_tile.h"

namespace awq::kernels::avx512 {
namespace {

#include "kernels/cpu/dense_sums512.h"

__mmask16 first(std::int64_t count) { return static_cast<__mmask16>((1U << count) - 1); }

struct Vector {
  static constexpr std::int64_t kLanes = 16;
  static constexpr int kOutputs[] = {4, 8, 8, 6};
  using Floats = __m512;
  static Floats zero() { return _mm512_setzero_ps(); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats load(const float* p) { return _mm512_loadu_ps(p); }
  static Floats load_some(const float* p, std::int64_t count) { return _mm512_maskz_loadu_ps(first(count), p); }
  template <int kCount>
  static void sums(const Floats* v, float* out) {
    sums_of_lanes<kCount>(v, out);
  }

  using Halves = __m256i;
  static Halves load_halves(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Halves some_halves(const char* p, std::int64_t count) { return _mm256_maskz_loadu_epi16(first(count), p); }
  static Floats from_bf16(Halves halves) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
  }
  static Floats from_f16(Halves halves) { return _mm512_cvtph_ps(halves); }
};

const char* always(const LinearArgs&) { return nullptr; }

}  // namespace

const LinearKernel kF32 = {"linear_f32_f32_f32_avx512", WeightKind::kF32, 2, always,
                           dense_run<Vector, DenseLoad<Vector, WeightKind::kF32>>};
const LinearKernel kBf16 = {"linear_f32_bf16_f32_avx512", WeightKind::kBf16, 2, always,
                            dense_run<Vector, DenseLoad<Vector, WeightKind::kBf16>>};
const LinearKernel kF16 = {"linear_f32_f16_f32_avx512", WeightKind::kF16, 2, always,
                           dense_run<Vector, DenseLoad<Vector, WeightKind::kF16>>};

}  // namespace awq::kernels::avx512
