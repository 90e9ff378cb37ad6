// Four binary32 or 32-bit lanes for kernels of packed weights on Arm; included inside the unnamed namespace of each
// file that uses them, so that no two files share an instance.

struct Lanes128 {
  static constexpr int kWidth = 4;
  using Floats = float32x4_t;
  using Ints = int32x4_t;

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
  static Ints zero_ints() { return vdupq_n_s32(0); }
  static Ints add32(Ints a, Ints b) { return vaddq_s32(a, b); }
  static Ints join(Ints high, Ints low) { return vaddq_s32(vshlq_n_s32(high, 7), low); }
  static int8x16_t broadcast(const std::int8_t* p) {
    std::int32_t four = 0;
    __builtin_memcpy(&four, p, sizeof(four));
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
};
