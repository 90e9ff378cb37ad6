// Kernel headers and intrinsics only.
#include "kernels/cpu/neon/packed_neon.h"

#include <arm_neon.h>

#include "kernels/cpu/packed_tile.h"

namespace awq::kernels::neon {
namespace {

#include "kernels/cpu/neon/packed_lanes128.h"

/// Without a dot product: products of nibbles and activations are added in 16 bits, at most 8 * 15 * 127 in a unit, and
/// the four inputs of an output are joined at its end.
struct Vector : Lanes128 {
  static constexpr int kPrefetch = 1024;
  static constexpr int stream_rows(int) { return 1; }
  static constexpr int kUnitsOfDots = 1;
  template <int kBits>
  struct Line {
    static constexpr int kSteps = kBits == 4 ? 2 : 1;
    int8x16_t nibbles[2];
  };
  template <int kBits>
  struct Dots {
    int16x8_t sums[kBits / 4][2];  ///< [low or high nibbles of an 8-bit code][outputs 0 and 1, 2 and 3]
  };

  template <int kBits>
  static Line<kBits> decode(const std::uint8_t* p) {
    const uint8x16_t bytes = vld1q_u8(p);
    return {{vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4))}};
  }
  template <int kBits>
  static Dots<kBits> no_dots() {
    return {};
  }
  static void multiply_add8(int16x8_t sums[2], int8x16_t nibbles, int8x16_t x) {
    sums[0] = vmlal_s8(sums[0], vget_low_s8(nibbles), vget_low_s8(x));
    sums[1] = vmlal_high_s8(sums[1], nibbles, x);
  }
  template <int kBits>
  static void dot(Dots<kBits>& dots, const Line<kBits>& w, int step, int8x16_t x) {
    multiply_add8(dots.sums[0], w.nibbles[kBits == 4 ? step : 0], x);
    if constexpr (kBits == 8) multiply_add8(dots.sums[1], w.nibbles[1], x);
  }
  static Ints joined(const int16x8_t sums[2]) { return vpaddq_s32(vpaddlq_s16(sums[0]), vpaddlq_s16(sums[1])); }
  template <int kBits>
  static Ints sum(const Dots<kBits>& dots) {
    const Ints low = joined(dots.sums[0]);
    if constexpr (kBits == 4) return low;
    if constexpr (kBits == 8) return vaddq_s32(low, vshlq_n_s32(joined(dots.sums[1]), 4));
  }
};

template <int kBits, int kPlanes>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  packed_run<Vector, kBits, kPlanes, 4, 4, 2, 2>(args, block_begin, block_end, panel_begin, panel_end);
}

}  // namespace

const PackedKernel kI8U4 = {"linear_i8_u4g_f32_neon", 4, 1, 0, CpuFeature::kNone, 2, false, 1, run<4, 1>};
const PackedKernel kI15U4 = {"linear_i15_u4g_f32_neon", 4, 2, 0, CpuFeature::kNone, 2, false, 1, run<4, 2>};
const PackedKernel kI8U8 = {"linear_i8_u8g_f32_neon", 8, 1, 0, CpuFeature::kNone, 2, false, 1, run<8, 1>};
const PackedKernel kI15U8 = {"linear_i15_u8g_f32_neon", 8, 2, 0, CpuFeature::kNone, 2, false, 1, run<8, 2>};

}  // namespace awq::kernels::neon
