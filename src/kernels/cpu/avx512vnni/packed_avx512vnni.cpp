// Built with AVX-512 F, BW, VL, DQ and VNNI: kernel headers and intrinsics only.
#include "kernels/cpu/avx512vnni/packed_avx512vnni.h"

#include <immintrin.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::avx512vnni {
namespace {

/// Sixteen outputs a vector; vpdpbusd multiplies unsigned codes with signed activations and never saturates.
struct Vector {
  static constexpr int kWidth = 16;
  static constexpr int kPrefetch = 128;
  using Floats = __m512;
  using Ints = __m512i;
  template <int kBits>
  using Dots = __m512i;
  template <int kBits>
  struct Line {
    static constexpr int kSteps = kBits == 4 ? 2 : 1;
    __m512i codes[kSteps];
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
    if constexpr (kBits == 8) {
      return {{bytes}};
    } else {
      const __m512i nibble = _mm512_set1_epi8(15);
      return {{_mm512_and_si512(bytes, nibble), _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibble)}};
    }
  }
  static __m512i broadcast(const std::int8_t* p) {
    int four = 0;
    __builtin_memcpy(&four, p, sizeof(four));
    return _mm512_set1_epi32(four);
  }
  template <int kBits>
  static __m512i begin(Ints sum) {
    return sum;
  }
  template <int kBits>
  static void dot(__m512i& sum, const Line<kBits>& w, int step, __m512i x) {
    sum = _mm512_dpbusd_epi32(sum, w.codes[step], x);
  }
  template <int kBits>
  static Ints end(Ints, __m512i dots) {
    return dots;
  }
};

template <int kBits, int kPlanes, int kPanelRows>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  packed_run<Vector, kBits, kPlanes, 4, 2, 4, kPanelRows>(args, block_begin, block_end, panel_begin, panel_end);
}

// Four rows share two vectors of weights, a stream of memory each. Where memory no longer counts, eight rows and one
// vector take fewer instructions to expand the codes.
constexpr std::int64_t kManyRows = 32;

}  // namespace

const PackedKernel kI8U4Many = {
    "linear_i8_u4g_f32_avx512vnni_8rows", 4, 1, 3, CpuFeature::kNone, 8, false, kManyRows, run<4, 1, 8>};
const PackedKernel kI8U8Many = {
    "linear_i8_u8g_f32_avx512vnni_8rows", 8, 1, 3, CpuFeature::kNone, 8, false, kManyRows, run<8, 1, 8>};
const PackedKernel kI8U4 = {"linear_i8_u4g_f32_avx512vnni", 4, 1, 3, CpuFeature::kNone, 4, false, 1, run<4, 1, 4>};
const PackedKernel kI15U4 = {"linear_i15_u4g_f32_avx512vnni", 4, 2, 3, CpuFeature::kNone, 4, false, 1, run<4, 2, 4>};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_avx512vnni", 8, 1, 3, CpuFeature::kNone, 4, false, 1, run<8, 1, 4>};
const PackedKernel kI15U8 = {"linear_i15_u8g_f32_avx512vnni", 8, 2, 3, CpuFeature::kNone, 4, false, 1, run<8, 2, 4>};

}  // namespace awq::kernels::avx512vnni
