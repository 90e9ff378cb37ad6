// Built with AVX-512 F, BW, VL and DQ: kernel headers and intrinsics only.
#include "kernels/cpu/avx512/packed_avx512.h"

#include <immintrin.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::avx512 {
namespace {

/// Sixteen outputs a vector. vpmaddubsw saturates at 16 bits, so codes enter as nibbles: 15 * 127 * 2 a step, and a
/// unit has 8 steps, 30480 at most.
struct Vector {
  static constexpr int kWidth = 16;
  static constexpr int kPrefetch = 128;
  using Floats = __m512;
  using Ints = __m512i;
  template <int kBits>
  struct Dots {
    static constexpr int kNibbles = kBits / 4;
    __m512i sums[kNibbles];  ///< pairs of inputs in 16 bits
  };
  template <int kBits>
  struct Line {
    static constexpr int kSteps = kBits == 4 ? 2 : 1;
    __m512i nibbles[2];
  };

  static Floats zero() { return _mm512_setzero_ps(); }
  static Ints zero_ints() { return _mm512_setzero_si512(); }
  static Floats from_bytes(const std::uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
  }
  static Floats from_halves(const void* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
  }
  static Floats from_floats(const void* p) { return _mm512_loadu_ps(p); }
  static Floats to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }
  static Floats multiply(Floats a, float b) { return _mm512_mul_ps(a, _mm512_set1_ps(b)); }
  static Floats multiply_add(Floats a, float b, Floats c) { return _mm512_fmadd_ps(a, _mm512_set1_ps(b), c); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
  static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  static void store(Floats v, float* p) { _mm512_storeu_ps(p, v); }
  static Ints join(Ints high, Ints low) { return _mm512_add_epi32(_mm512_slli_epi32(high, 7), low); }

  template <int kBits>
  static Line<kBits> decode(const std::uint8_t* p) {
    const __m512i bytes = _mm512_load_si512(p);
    const __m512i nibble = _mm512_set1_epi8(15);
    return {{_mm512_and_si512(bytes, nibble), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble)}};
  }
  static __m512i broadcast(const std::int8_t* p) {
    int four = 0;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm512_set1_epi32(four);
  }
  template <int kBits>
  static Dots<kBits> begin(Ints) {
    Dots<kBits> dots;
    for (__m512i& sum : dots.sums) sum = _mm512_setzero_si512();
    return dots;
  }
  template <int kBits>
  static void dot(Dots<kBits>& dots, const Line<kBits>& w, int step, __m512i x) {
    if constexpr (kBits == 4) {
      dots.sums[0] = _mm512_add_epi16(dots.sums[0], _mm512_maddubs_epi16(w.nibbles[step], x));
    } else {
      dots.sums[0] = _mm512_add_epi16(dots.sums[0], _mm512_maddubs_epi16(w.nibbles[0], x));
      dots.sums[1] = _mm512_add_epi16(dots.sums[1], _mm512_maddubs_epi16(w.nibbles[1], x));
    }
  }
  template <int kBits>
  static Ints end(Ints sum, const Dots<kBits>& dots) {
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(dots.sums[0], _mm512_set1_epi16(1)));
    if constexpr (kBits == 8) sum = _mm512_add_epi32(sum, _mm512_madd_epi16(dots.sums[1], _mm512_set1_epi16(16)));
    return sum;
  }
};

template <int kBits, int kPlanes>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  packed_run<Vector, kBits, kPlanes, 4, kBits == 4 ? 2 : 1, kPlanes == 1 ? 6 : 4, kPlanes == 1 ? 6 : 4>(
      args, block_begin, block_end, panel_begin, panel_end);
}

}  // namespace

const PackedKernel kI8U4 = {"linear_i8_u4g_f32_avx512", 4, 1, 2, CpuFeature::kNone, 6, false, 1, run<4, 1>};
const PackedKernel kI15U4 = {"linear_i15_u4g_f32_avx512", 4, 2, 2, CpuFeature::kNone, 4, false, 1, run<4, 2>};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_avx512", 8, 1, 2, CpuFeature::kNone, 6, false, 1, run<8, 1>};
const PackedKernel kI15U8 = {"linear_i15_u8g_f32_avx512", 8, 2, 2, CpuFeature::kNone, 4, false, 1, run<8, 2>};

}  // namespace awq::kernels::avx512
