// Built with AVX2, FMA and F16C: kernel headers and intrinsics only.
#include "kernels/cpu/avx2/activations_avx2.h"

#include <immintrin.h>

#include "kernels/cpu/activations_body.h"

namespace awq::kernels::avx2 {
namespace {

struct ActivationLanes {
  static constexpr std::int64_t kLanes = 8;
  using Floats = __m256;
  using Ints = __m256i;

  static Floats load(const float* p) { return _mm256_loadu_ps(p); }
  static Floats load_some(const float* p, std::int64_t count) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane));
  }

  /// Compared as integers, magnitudes keep their order and a NaN is the largest of all.
  static Floats larger(Floats most, Floats v) {
    const __m256i magnitude = _mm256_castps_si256(_mm256_andnot_ps(_mm256_set1_ps(-0.0F), v));
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(most), magnitude));
  }
  static float largest(Floats most) {
    const __m256i eight = _mm256_castps_si256(most);
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4E));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xB1));
    return _mm_cvtss_f32(_mm_castsi128_ps(m));
  }

  static Ints round(Floats v, float factor) { return _mm256_cvtps_epi32(_mm256_mul_ps(v, _mm256_set1_ps(factor))); }
  static Floats zero() { return _mm256_setzero_ps(); }
  static Ints zero_ints() { return _mm256_setzero_si256(); }
  static Ints add(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
  static int sum(Ints v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
    return _mm_cvtsi128_si32(s);
  }
  static Ints high(Ints q) { return _mm256_srai_epi32(_mm256_add_epi32(q, _mm256_set1_epi32(64)), 7); }
  static Ints low(Ints q, Ints high) { return _mm256_sub_epi32(q, _mm256_slli_epi32(high, 7)); }

  static void put(const Ints q[4], std::int8_t* to, std::int64_t stride) {
    const __m256i pairs = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    const __m256i bytes = _mm256_permutevar8x32_epi32(pairs, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    if (stride == 4) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
      return;
    }
    alignas(32) int steps[8];
    _mm256_store_si256(reinterpret_cast<__m256i*>(steps), bytes);
    for (int i = 0; i < 8; ++i) __builtin_memcpy(to + i * stride, &steps[i], 4);
  }
};

}  // namespace

const ActivationQuantizer kQuantizeActivations = {"quantize_activations_avx2", 1,
                                                  quantize_activations<ActivationLanes>};

}  // namespace awq::kernels::avx2
