// Four outputs a vector on Arm. Included inside the unnamed namespace of a file that defines kUnsignedCodes and
// dot128(sum, codes, activations): with the dot product of signed bytes, 8-bit codes enter as two nibbles; the mixed
// one takes them as they are.

#include "kernels/cpu/neon/packed_lanes128.h"

struct Vector : Lanes128 {
  static constexpr int kPrefetch = 1024;
  static constexpr int stream_rows(int) { return 1; }
  static constexpr int kUnitsOfDots = 4;
  template <int kBits>
  struct Line {
    static constexpr int kSteps = kBits == 4 ? 2 : 1;
    uint8x16_t codes[2];
  };
  template <int kBits>
  struct Dots {
    int32x4_t sums[2];  ///< the second one of high nibbles of 8-bit codes
  };

  template <int kBits>
  static Line<kBits> decode(const std::uint8_t* p) {
    const uint8x16_t bytes = vld1q_u8(p);
    if constexpr (kBits == 8 && kUnsignedCodes) {
      return {{bytes, bytes}};
    } else {
      return {{vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8(bytes, 4)}};
    }
  }
  template <int kBits>
  static Dots<kBits> no_dots() {
    return {{vdupq_n_s32(0), vdupq_n_s32(0)}};
  }
  template <int kBits>
  static void dot(Dots<kBits>& dots, const Line<kBits>& w, int step, int8x16_t x) {
    dots.sums[0] = dot128(dots.sums[0], w.codes[step], x);
    if constexpr (kBits == 8 && !kUnsignedCodes) dots.sums[1] = dot128(dots.sums[1], w.codes[1], x);
  }
  template <int kBits>
  static Ints sum(const Dots<kBits>& dots) {
    if constexpr (kBits == 8 && !kUnsignedCodes) {
      return vaddq_s32(dots.sums[0], vshlq_n_s32(dots.sums[1], 4));
    } else {
      return dots.sums[0];
    }
  }
};

template <int kBits, int kPlanes>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  packed_run<Vector, kBits, kPlanes, 4, 4, kPlanes == 1 ? 4 : 2, kPlanes == 1 ? 4 : 2>(args, block_begin, block_end,
                                                                                       panel_begin, panel_end);
}
