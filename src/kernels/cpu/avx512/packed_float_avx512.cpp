// Built with AVX-512 F, BW, VL and DQ: kernel headers and intrinsics only.
#include "kernels/cpu/avx512/packed_float_avx512.h"

#include <immintrin.h>

#include "kernels/cpu/packed_float_tile.h"

namespace awq::kernels::avx512 {
namespace {

struct FloatVector {
  static constexpr int kWidth = 16;
  using Floats = __m512;
  static Floats zero() { return _mm512_setzero_ps(); }
  static __m512i load_words(const std::uint8_t* p) { return _mm512_load_si512(p); }
  template <int kBits>
  static Floats code(__m512i words, int shift) {
    const __m512i shifted = _mm512_srli_epi32(words, static_cast<unsigned>(shift));
    if constexpr (kBits == 4) {  // a look-up takes the low four bits by itself
      return _mm512_permutexvar_ps(shifted, _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    } else {
      return _mm512_cvtepi32_ps(_mm512_and_si512(shifted, _mm512_set1_epi32(255)));
    }
  }
  static Floats from_bytes(const std::uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static Floats from_halves(const void* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  static Floats from_floats(const void* p) { return _mm512_loadu_ps(p); }
  static Floats multiply_add(Floats a, float b, Floats c) { return _mm512_fmadd_ps(a, _mm512_set1_ps(b), c); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static void store(Floats v, float* p) { _mm512_storeu_ps(p, v); }
};

}  // namespace

const PackedFloatKernel kPackedF32U4 = {"linear_f32_u4g_f32_avx512", 4, 2, packed_float_run<FloatVector, 4>};
const PackedFloatKernel kPackedF32U8 = {"linear_f32_u8g_f32_avx512", 8, 2, packed_float_run<FloatVector, 8>};

}  // namespace awq::kernels::avx512
