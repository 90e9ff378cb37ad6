// Built with AVX-512 F, BW, VL, DQ and VNNI: kernel headers and intrinsics only.
#include "kernels/cpu/avx512vnni/packed_avx512vnni256.h"

#include <immintrin.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::avx512vnni {
namespace {

struct Dot {
  static __m256i dot(__m256i sum, __m256i codes, __m256i x) { return _mm256_dpbusd_epi32(sum, codes, x); }
};

#include "kernels/cpu/vnni256_vector.h"

}  // namespace

const PackedKernel kI8U4256 = {
    "linear_i8_u4g_f32_avx512vnni256", 4, 1, 3, CpuFeature::kNone, 4, false, 1, run256<4, 1>};
const PackedKernel kI15U4256 = {
    "linear_i15_u4g_f32_avx512vnni256", 4, 2, 3, CpuFeature::kNone, 2, false, 1, run256<4, 2>};
const PackedKernel kI8U8256 = {
    "linear_i8_u8g_f32_avx512vnni256", 8, 1, 3, CpuFeature::kNone, 4, false, 1, run256<8, 1>};
const PackedKernel kI15U8256 = {
    "linear_i15_u8g_f32_avx512vnni256", 8, 2, 3, CpuFeature::kNone, 2, false, 1, run256<8, 2>};

}  // namespace awq::kernels::avx512vnni
