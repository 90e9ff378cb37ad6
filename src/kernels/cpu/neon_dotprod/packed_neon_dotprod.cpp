// Built with the dotprod extension: kernel headers and intrinsics only.
#include "kernels/cpu/neon_dotprod/packed_neon_dotprod.h"

#include <arm_neon.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::neon_dotprod {
namespace {

constexpr bool kUnsignedCodes = false;
int32x4_t dot128(int32x4_t sum, uint8x16_t codes, int8x16_t x) { return vdotq_s32(sum, vreinterpretq_s8_u8(codes), x); }

#include "kernels/cpu/neon/neon_vector.h"

}  // namespace

const PackedKernel kI8U4 = {"linear_i8_u4g_f32_neon_dotprod", 4, 1, 0, CpuFeature::kDotProduct, 4, false, 1, run<4, 1>};
const PackedKernel kI15U4 = {
    "linear_i15_u4g_f32_neon_dotprod", 4, 2, 0, CpuFeature::kDotProduct, 2, false, 1, run<4, 2>};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_neon_dotprod", 8, 1, 0, CpuFeature::kDotProduct, 4, false, 1, run<8, 1>};
const PackedKernel kI15U8 = {
    "linear_i15_u8g_f32_neon_dotprod", 8, 2, 0, CpuFeature::kDotProduct, 2, false, 1, run<8, 2>};

}  // namespace awq::kernels::neon_dotprod
