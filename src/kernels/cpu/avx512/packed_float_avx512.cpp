// Built with AVX-512 F, BW, VL and DQ: kernel headers and intrinsics only.
#include "kernels/cpu/avx512/packed_float_avx512.h"

#include <immintrin.h>

#include "kernels/cpu/packed_float_tile.h"

namespace awq::kernels::avx512 {
namespace {

#include "kernels/cpu/packed_lanes512.h"

struct FloatVector : Lanes512 {
  static Ints load_words(const std::uint8_t* p) { return load(p); }
  template <int kBits>
  static Floats code(Ints words, int shift) {
    const Ints shifted = _mm512_srli_epi32(words, static_cast<unsigned>(shift));
    if constexpr (kBits == 4) {  // a look-up takes the low four bits by itself
      return _mm512_permutexvar_ps(shifted, _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    } else {
      return to_floats(_mm512_and_si512(shifted, _mm512_set1_epi32(255)));
    }
  }
};

}  // namespace

const PackedFloatKernel kPackedF32U4 = {"linear_f32_u4g_f32_avx512", 4, 2, packed_float_run<FloatVector, 4>};
const PackedFloatKernel kPackedF32U8 = {"linear_f32_u8g_f32_avx512", 8, 2, packed_float_run<FloatVector, 8>};

}  // namespace awq::kernels::avx512
