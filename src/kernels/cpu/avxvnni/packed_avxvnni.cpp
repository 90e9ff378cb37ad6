// Built with AVX2, FMA, F16C and AVX-VNNI: kernel headers and intrinsics only.
#include "kernels/cpu/avxvnni/packed_avxvnni.h"

#include <immintrin.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::avxvnni {
namespace {

struct Dot {
  static __m256i dot(__m256i sum, __m256i codes, __m256i x) { return _mm256_dpbusd_avx_epi32(sum, codes, x); }
};

#include "kernels/cpu/vnni256_vector.h"

}  // namespace

const PackedKernel kI8U4 = {"linear_i8_u4g_f32_avxvnni", 4, 1, 1, CpuFeature::kAvxVnni, 4, false, 1, run256<4, 1>};
const PackedKernel kI15U4 = {"linear_i15_u4g_f32_avxvnni", 4, 2, 1, CpuFeature::kAvxVnni, 2, false, 1, run256<4, 2>};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_avxvnni", 8, 1, 1, CpuFeature::kAvxVnni, 4, false, 1, run256<8, 1>};
const PackedKernel kI15U8 = {"linear_i15_u8g_f32_avxvnni", 8, 2, 1, CpuFeature::kAvxVnni, 2, false, 1, run256<8, 2>};

}  // namespace awq::kernels::avxvnni
