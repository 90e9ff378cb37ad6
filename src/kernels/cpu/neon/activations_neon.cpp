// Kernel headers and intrinsics only.
#include "kernels/cpu/neon/activations_neon.h"

#include <arm_neon.h>

#include "kernels/cpu/activations_body.h"

namespace awq::kernels::neon {
namespace {

struct ActivationLanes {
  static constexpr std::int64_t kLanes = 4;
  using Floats = float32x4_t;
  using Ints = int32x4_t;

  static Floats load(const float* p) { return vld1q_f32(p); }
  static Floats load_some(const float* p, std::int64_t count) {
    float values[4] = {};
    __builtin_memcpy(values, p, static_cast<std::size_t>(count) * sizeof(float));
    return vld1q_f32(values);
  }

  static Floats larger(Floats most, Floats v) { return vmaxq_f32(most, vabsq_f32(v)); }  // keeps a NaN
  static float largest(Floats most) { return vmaxvq_f32(most); }

  static Ints round(Floats v, float factor) { return vcvtnq_s32_f32(vmulq_n_f32(v, factor)); }
  static Floats zero() { return vdupq_n_f32(0); }
  static Ints zero_ints() { return vdupq_n_s32(0); }
  static Ints add(Ints a, Ints b) { return vaddq_s32(a, b); }
  static int sum(Ints v) { return vaddvq_s32(v); }
  static Ints high(Ints q) { return vshrq_n_s32(vaddq_s32(q, vdupq_n_s32(64)), 7); }
  static Ints low(Ints q, Ints high) { return vsubq_s32(q, vshlq_n_s32(high, 7)); }

  static void put(const Ints q[8], std::int8_t* to, std::int64_t stride) {
    for (int half = 0; half < 2; ++half) {
      const Ints* four = q + 4 * half;
      const int16x8_t a = vcombine_s16(vmovn_s32(four[0]), vmovn_s32(four[1]));
      const int16x8_t b = vcombine_s16(vmovn_s32(four[2]), vmovn_s32(four[3]));
      int steps[4];
      vst1q_s32(steps, vreinterpretq_s32_s8(vcombine_s8(vmovn_s16(a), vmovn_s16(b))));
      for (int i = 0; i < 4; ++i) __builtin_memcpy(to + (4 * half + i) * stride, &steps[i], 4);
    }
  }
};

}  // namespace

const ActivationQuantizer kQuantizeActivations = {"quantize_activations_neon", 0,
                                                  quantize_activations<ActivationLanes>};

}  // namespace awq::kernels::neon
