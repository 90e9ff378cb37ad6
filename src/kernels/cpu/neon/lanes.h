// Sixteen binary32 lanes for the bodies in kernels/cpu, on Arm, whose every 64-bit processor has these instructions.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

#include "kernels/api/attention.h"

namespace awq::kernels::neon {
namespace {

struct V {
  static constexpr int kRows = 2;
  static constexpr int kVectors = 2;
  float32x4_t v[4];

  /// f(i) for each quarter.
  template <class F>
  static V each(F f) {
    return {{f(0), f(1), f(2), f(3)}};
  }
  static V set(float x) {
    return each([x](int) { return vdupq_n_f32(x); });
  }
  static V load(const float* p) {
    return each([p](int i) { return vld1q_f32(p + 4 * i); });
  }
  void store(float* p) const {
    for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, v[i]);
  }
  static V fma(const V& a, const V& b, const V& c) {
    return each([&](int i) { return vfmaq_f32(c.v[i], a.v[i], b.v[i]); });
  }
  static V mul(const V& a, const V& b) {
    return each([&](int i) { return vmulq_f32(a.v[i], b.v[i]); });
  }
  static V add(const V& a, const V& b) {
    return each([&](int i) { return vaddq_f32(a.v[i], b.v[i]); });
  }
  static V sub(const V& a, const V& b) {
    return each([&](int i) { return vsubq_f32(a.v[i], b.v[i]); });
  }
  /// The second one where a lane is NaN or both are zero, as on the other processors.
  static float32x4_t max(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static float32x2_t max(float32x2_t a, float32x2_t b) { return vbsl_f32(vcgt_f32(a, b), a, b); }
  static V max(const V& a, const V& b) {
    return each([&](int i) { return max(a.v[i], b.v[i]); });
  }

  static V keep(const V& x, std::int64_t a, std::int64_t b, float fill) {
    const auto cut = [](std::int64_t n) { return vdupq_n_s32(static_cast<int>(n < 0 ? 0 : n > 16 ? 16 : n)); };
    const int32x4_t from = cut(a);
    const int32x4_t to = cut(b);
    const int32x4_t first = {0, 1, 2, 3};
    return each([&](int i) {
      const int32x4_t lane = vaddq_s32(first, vdupq_n_s32(4 * i));
      return vbslq_f32(vandq_u32(vcgeq_s32(lane, from), vcltq_s32(lane, to)), x.v[i], vdupq_n_f32(fill));
    });
  }
  static V zero_below(const V& result, const V& x, const V& limit) {
    return each([&](int i) {
      return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(result.v[i]), vcltq_f32(x.v[i], limit.v[i])));
    });
  }
  static V scale2(const V& p, const V& n) {
    return each([&](int i) {
      const int32x4_t exponent = vshlq_n_s32(vcvtnq_s32_f32(n.v[i]), 23);
      return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p.v[i]), exponent));
    });
  }
  // Lanes 8 apart first, then 4, 2, 1: the order is part of the result.
  static float largest(const V& x) {
    const float32x4_t four = max(max(x.v[0], x.v[2]), max(x.v[1], x.v[3]));
    const float32x2_t two = max(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(max(two, vdup_lane_f32(two, 1)), 0);
  }
  static float sum(const V& x) {
    const float32x4_t four = vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
    const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }

  template <KvType kType>
  static V load_kv(const std::byte* p, std::int64_t i) {
    if constexpr (kType == KvType::kF32) {
      return load(reinterpret_cast<const float*>(p) + i);
    } else if constexpr (has_scales(kType)) {
      const int8x16_t codes = vld1q_s8(reinterpret_cast<const std::int8_t*>(p + i));
      const int16x8_t low = vmovl_s8(vget_low_s8(codes));
      const int16x8_t high = vmovl_s8(vget_high_s8(codes));
      const auto widen = [](int16x4_t four) {
        const int32x4_t wide = vmovl_s16(four);
        if constexpr (kType == KvType::kInt8) return vcvtq_f32_s32(wide);
        const int32x4_t bits = vandq_s32(vshlq_n_s32(wide, 20), vdupq_n_s32(kE4M3Bits));
        return vmulq_f32(vreinterpretq_f32_s32(bits), vdupq_n_f32(0x1p120F));
      };
      return {
          {widen(vget_low_s16(low)), widen(vget_high_s16(low)), widen(vget_low_s16(high)), widen(vget_high_s16(high))}};
    } else {
      const auto* halves = reinterpret_cast<const std::uint16_t*>(p) + i;
      return each([halves](int q) {
        static_assert(kType == KvType::kF16);
        return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(halves + 4 * q)));
      });
    }
  }
  static V first(const V& x) {
    return each([&](int i) { return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(x.v[i]), 16)); });
  }
  static V second(const V& x) {
    const uint32x4_t upper = vdupq_n_u32(0xFFFF0000U);
    return each([&](int i) { return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(x.v[i]), upper)); });
  }

  static V divide(const V& a, const V& b) {
    return each([&](int i) { return vdivq_f32(a.v[i], b.v[i]); });
  }
  static V negative_magnitude(const V& x) {
    return each([&](int i) { return vnegq_f32(vabsq_f32(x.v[i])); });
  }
  static V where_negative(const V& x, const V& a, const V& b) {
    return each([&](int i) { return vbslq_f32(vcltzq_f32(x.v[i]), a.v[i], b.v[i]); });
  }
  /// Sums of squares of sixteen lanes in binary64.
  struct Squares {
    float64x2_t sum[8] = {};
    void add(const V& x) {
      for (int i = 0; i < 4; ++i) {
        const float64x2_t low = vcvt_f64_f32(vget_low_f32(x.v[i]));
        const float64x2_t high = vcvt_high_f64_f32(x.v[i]);
        sum[2 * i] = vfmaq_f64(sum[2 * i], low, low);
        sum[2 * i + 1] = vfmaq_f64(sum[2 * i + 1], high, high);
      }
    }
    void store(double* to) const {
      for (int i = 0; i < 8; ++i) vst1q_f64(to + 2 * i, sum[i]);
    }
  };
};

}  // namespace
}  // namespace awq::kernels::neon
