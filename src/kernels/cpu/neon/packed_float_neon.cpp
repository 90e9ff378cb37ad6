// Kernel headers and intrinsics only.
#include "kernels/cpu/neon/packed_float_neon.h"

#include <arm_neon.h>

#include "kernels/cpu/packed_float_tile.h"

namespace awq::kernels::neon {
namespace {

#include "kernels/cpu/neon/packed_lanes128.h"

struct FloatVector : Lanes128 {
  static uint32x4_t load_words(const std::uint8_t* p) { return vreinterpretq_u32_u8(vld1q_u8(p)); }
  template <int kBits>
  static Floats code(uint32x4_t words, int shift) {
    const uint32x4_t shifted = vshlq_u32(words, vdupq_n_s32(-shift));
    return vcvtq_f32_u32(vandq_u32(shifted, vdupq_n_u32((1U << kBits) - 1)));
  }
};

}  // namespace

const PackedFloatKernel kPackedF32U4 = {"linear_f32_u4g_f32_neon", 4, 0, packed_float_run<FloatVector, 4>};
const PackedFloatKernel kPackedF32U8 = {"linear_f32_u8g_f32_neon", 8, 0, packed_float_run<FloatVector, 8>};

}  // namespace awq::kernels::neon
