// Built with AVX2, FMA and F16C: kernel headers and intrinsics only.
#include "kernels/cpu/avx2/packed_float_avx2.h"

#include <immintrin.h>

#include "kernels/cpu/packed_float_tile.h"

namespace awq::kernels::avx2 {
namespace {

#include "kernels/cpu/packed_lanes256.h"

struct FloatVector : Lanes256 {
  static Ints load_words(const std::uint8_t* p) { return load(p); }
  template <int kBits>
  static Floats code(Ints words, int shift) {
    return to_floats(_mm256_and_si256(_mm256_srli_epi32(words, shift), _mm256_set1_epi32((1 << kBits) - 1)));
  }
};

}  // namespace

const PackedFloatKernel kPackedF32U4 = {"linear_f32_u4g_f32_avx2", 4, 1, packed_float_run<FloatVector, 4>};
const PackedFloatKernel kPackedF32U8 = {"linear_f32_u8g_f32_avx2", 8, 1, packed_float_run<FloatVector, 8>};

}  // namespace awq::kernels::avx2
