// Built with AVX2, FMA and F16C: kernel headers and intrinsics only.
#include "kernels/cpu/avx2/packed_float_avx2.h"

#include <immintrin.h>

#include "kernels/cpu/packed_float_tile.h"

namespace awq::kernels::avx2 {
namespace {

struct FloatVector {
  static constexpr int kWidth = 8;
  using Floats = __m256;
  static Floats zero() { return _mm256_setzero_ps(); }
  static __m256i load_words(const std::uint8_t* p) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(p)); }
  template <int kBits>
  static Floats code(__m256i words, int shift) {
    const __m256i mask = _mm256_set1_epi32((1 << kBits) - 1);
    return _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srli_epi32(words, shift), mask));
  }
  static Floats from_bytes(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static Floats from_halves(const void* p) { return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
  static Floats from_floats(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
  static Floats multiply_add(Floats a, float b, Floats c) { return _mm256_fmadd_ps(a, _mm256_set1_ps(b), c); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static void store(Floats v, float* p) { _mm256_storeu_ps(p, v); }
};

}  // namespace

const PackedFloatKernel kPackedF32U4 = {"linear_f32_u4g_f32_avx2", 4, 1, packed_float_run<FloatVector, 4>};
const PackedFloatKernel kPackedF32U8 = {"linear_f32_u8g_f32_avx2", 8, 1, packed_float_run<FloatVector, 8>};

}  // namespace awq::kernels::avx2
