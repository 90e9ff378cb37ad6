// Four outputs a vector on Arm. Included inside the unnamed namespace of a file that defines kUnsignedCodes and
// dot128(sum, codes, activations): with the dot product of signed bytes, 8-bit codes enter as two nibbles; the mixed
// one takes them as they are.

struct Vector {
  static constexpr int kWidth = 4;
  static constexpr int kPrefetch = 1024;
  using Floats = float32x4_t;
  using Ints = int32x4_t;
  template <int kBits>
  struct Line {
    static constexpr int kSteps = kBits == 4 ? 2 : 1;
    uint8x16_t codes[2];
  };
  template <int kBits>
  struct Dots {
    int32x4_t sums[2];  ///< the second one of high nibbles of 8-bit codes
  };

  static Floats zero() { return vdupq_n_f32(0); }
  static Floats from_bytes(const std::uint8_t* p) {
    std::uint32_t four = 0;
    __builtin_memcpy(&four, p, sizeof(four));
    const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
  }
  static Floats from_halves(const void* p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(static_cast<const std::uint16_t*>(p))));
  }
  static Floats from_floats(const void* p) { return vld1q_f32(static_cast<const float*>(p)); }
  static Floats to_floats(Ints v) { return vcvtq_f32_s32(v); }
  static Floats multiply(Floats a, float b) { return vmulq_n_f32(a, b); }
  static Floats multiply_add(Floats a, float b, Floats c) { return vfmaq_f32(c, a, vdupq_n_f32(b)); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
  static Floats add(Floats a, Floats b) { return vaddq_f32(a, b); }
  static void store(Floats v, float* p) { vst1q_f32(p, v); }
  static Ints join(Ints high, Ints low) { return vaddq_s32(vshlq_n_s32(high, 7), low); }

  template <int kBits>
  static Line<kBits> decode(const std::uint8_t* p) {
    const uint8x16_t bytes = vld1q_u8(p);
    if constexpr (kBits == 8 && kUnsignedCodes) {
      return {{bytes, bytes}};
    } else {
      return {{vandq_u8(bytes, vdupq_n_u8(15)), vshrq_n_u8(bytes, 4)}};
    }
  }
  static int8x16_t broadcast(const std::int8_t* p) {
    std::int32_t four = 0;
    __builtin_memcpy(&four, p, sizeof(four));
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
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
