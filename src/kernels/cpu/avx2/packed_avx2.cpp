// Built with AVX2, FMA and F16C: kernel headers and intrinsics only.
#include "kernels/cpu/avx2/packed_avx2.h"

#include <immintrin.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::avx2 {
namespace {

/// Eight outputs a vector. vpmaddubsw saturates at 16 bits, so codes enter as nibbles: 15 * 127 * 2 a step, and a unit
/// has 8 steps, 30480 at most.
struct Vector {
  static constexpr int kWidth = 8;
  static constexpr int kPrefetch = 256;
  using Floats = __m256;
  using Ints = __m256i;
  template <int kBits>
  struct Dots {
    static constexpr int kNibbles = kBits / 4;
    __m256i sums[kNibbles];  ///< pairs of inputs in 16 bits
  };
  template <int kBits>
  struct Line {
    static constexpr int kSteps = kBits == 4 ? 2 : 1;
    __m256i nibbles[2];
  };

  static Floats zero() { return _mm256_setzero_ps(); }
  static Ints zero_ints() { return _mm256_setzero_si256(); }
  static Floats from_bytes(const std::uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  static Floats from_halves(const void* p) { return _mm256_cvtph_ps(_mm_loadu_si128(static_cast<const __m128i*>(p))); }
  static Floats from_floats(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
  static Floats to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }
  static Floats multiply(Floats a, float b) { return _mm256_mul_ps(a, _mm256_set1_ps(b)); }
  static Floats multiply_add(Floats a, float b, Floats c) { return _mm256_fmadd_ps(a, _mm256_set1_ps(b), c); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
  static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  static void store(Floats v, float* p) { _mm256_storeu_ps(p, v); }
  static Ints join(Ints high, Ints low) { return _mm256_add_epi32(_mm256_slli_epi32(high, 7), low); }

  template <int kBits>
  static Line<kBits> decode(const std::uint8_t* p) {
    const __m256i bytes = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    const __m256i nibble = _mm256_set1_epi8(15);
    return {{_mm256_and_si256(bytes, nibble), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibble)}};
  }
  static __m256i broadcast(const std::int8_t* p) {
    int four = 0;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm256_set1_epi32(four);
  }
  template <int kBits>
  static Dots<kBits> begin(Ints) {
    Dots<kBits> dots;
    for (__m256i& sum : dots.sums) sum = _mm256_setzero_si256();
    return dots;
  }
  template <int kBits>
  static void dot(Dots<kBits>& dots, const Line<kBits>& w, int step, __m256i x) {
    if constexpr (kBits == 4) {
      dots.sums[0] = _mm256_add_epi16(dots.sums[0], _mm256_maddubs_epi16(w.nibbles[step], x));
    } else {
      dots.sums[0] = _mm256_add_epi16(dots.sums[0], _mm256_maddubs_epi16(w.nibbles[0], x));
      dots.sums[1] = _mm256_add_epi16(dots.sums[1], _mm256_maddubs_epi16(w.nibbles[1], x));
    }
  }
  template <int kBits>
  static Ints end(Ints sum, const Dots<kBits>& dots) {
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(dots.sums[0], _mm256_set1_epi16(1)));
    if constexpr (kBits == 8) sum = _mm256_add_epi32(sum, _mm256_madd_epi16(dots.sums[1], _mm256_set1_epi16(16)));
    return sum;
  }
};

template <int kBits, int kPlanes>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  packed_run<Vector, kBits, kPlanes, 8, 2, kPlanes == 1 ? 4 : 2, kPlanes == 1 ? 4 : 2>(args, block_begin, block_end,
                                                                                       panel_begin, panel_end);
}

}  // namespace

const PackedKernel kI8U4 = {"linear_i8_u4g_f32_avx2", 4, 1, 1, CpuFeature::kNone, 4, false, 1, run<4, 1>};
const PackedKernel kI15U4 = {"linear_i15_u4g_f32_avx2", 4, 2, 1, CpuFeature::kNone, 2, false, 1, run<4, 2>};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_avx2", 8, 1, 1, CpuFeature::kNone, 4, false, 1, run<8, 1>};
const PackedKernel kI15U8 = {"linear_i15_u8g_f32_avx2", 8, 2, 1, CpuFeature::kNone, 2, false, 1, run<8, 2>};

}  // namespace awq::kernels::avx2
