// Built with AVX-512 F, BW, VL, DQ and VNNI: kernel headers and intrinsics only.
#include "kernels/cpu/avx512vnni/packed_avx512vnni.h"

#include <immintrin.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::avx512vnni {
namespace {

#include "kernels/cpu/packed_lanes512.h"

#include "kernels/cpu/vnni_vector.h"

struct Dot {
  static __m512i dot(__m512i sum, __m512i codes, __m512i x) { return _mm512_dpbusd_epi32(sum, codes, x); }
};
struct Vector : VnniVector<Lanes512, Dot> {
  static constexpr int kPrefetch = 64;
  static constexpr int stream_rows(int bits) { return bits == 4 ? 2 : 4; }
};

template <int kBits, int kPlanes, int kPanelRows>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  packed_run<Vector, kBits, kPlanes, 2, 2, 4, kPanelRows>(args, block_begin, block_end, panel_begin, panel_end);
}

// Four rows share two vectors of weights, eight one, which takes fewer instructions to expand the codes.
constexpr std::int64_t kManyRows = 8;

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
