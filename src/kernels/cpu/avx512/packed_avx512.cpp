// Built with AVX-512 F, BW, VL and DQ: kernel headers and intrinsics only.
#include "kernels/cpu/avx512/packed_avx512.h"

#include <immintrin.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::avx512 {
namespace {

#include "kernels/cpu/packed_lanes512.h"

#include "kernels/cpu/nibble_vector.h"

struct Vector : NibbleVector<Lanes512> {
  static constexpr int kPrefetch = 128;
  static constexpr int stream_rows(int bits) { return bits == 4 ? 1 : 2; }
};

template <int kBits, int kPlanes>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  packed_run<Vector, kBits, kPlanes, 2, kBits == 4 ? 2 : 1, kPlanes == 1 ? 8 : 4, kPlanes == 1 ? 8 : 4>(
      args, block_begin, block_end, panel_begin, panel_end);
}

}  // namespace

const PackedKernel kI8U4 = {"linear_i8_u4g_f32_avx512", 4, 1, 2, CpuFeature::kNone, 8, false, 1, run<4, 1>};
const PackedKernel kI15U4 = {"linear_i15_u4g_f32_avx512", 4, 2, 2, CpuFeature::kNone, 4, false, 1, run<4, 2>};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_avx512", 8, 1, 2, CpuFeature::kNone, 8, false, 1, run<8, 1>};
const PackedKernel kI15U8 = {"linear_i15_u8g_f32_avx512", 8, 2, 2, CpuFeature::kNone, 4, false, 1, run<8, 2>};

}  // namespace awq::kernels::avx512
