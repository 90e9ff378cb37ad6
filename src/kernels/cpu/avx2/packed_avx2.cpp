// Built with AVX2, FMA and F16C: kernel headers and intrinsics only.
#include "kernels/cpu/avx2/packed_avx2.h"

#include <immintrin.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::avx2 {
namespace {

#include "kernels/cpu/packed_lanes256.h"

#include "kernels/cpu/nibble_vector.h"

struct Vector : NibbleVector<Lanes256> {
  static constexpr int kPrefetch = 128;
  static constexpr int stream_rows(int) { return 1; }
};

template <int kBits, int kPlanes>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  packed_run<Vector, kBits, kPlanes, 4, 2, kPlanes == 1 ? 4 : 2, kPlanes == 1 ? 4 : 2>(args, block_begin, block_end,
                                                                                       panel_begin, panel_end);
}

}  // namespace

const PackedKernel kI8U4 = {"linear_i8_u4g_f32_avx2", 4, 1, 1, CpuFeature::kNone, 4, false, 1, run<4, 1>};
const PackedKernel kI15U4 = {"linear_i15_u4g_f32_avx2", 4, 2, 1, CpuFeature::kNone, 2, false, 1, run<4, 2>};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_avx2", 8, 1, 1, CpuFeature::kNone, 4, false, 1, run<8, 1>};
const PackedKernel kI15U8 = {"linear_i15_u8g_f32_avx2", 8, 2, 1, CpuFeature::kNone, 2, false, 1, run<8, 2>};

}  // namespace awq::kernels::avx2
