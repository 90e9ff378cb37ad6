// Kernel headers and intrinsics only.
#include "kernels/cpu/neon/linear_neon.h"

#include <arm_neon.h>

#include "kernels/cpu/dense_tile.h"

namespace awq::kernels::neon {
namespace {

struct Vector {
  static constexpr std::int64_t kLanes = 4;
  static constexpr int kOutputs[] = {4, 8, 6, 5};
  using Floats = float32x4_t;
  static Floats zero() { return vdupq_n_f32(0); }
  static Floats multiply_add(Floats a, Floats b, Floats c) { return vfmaq_f32(c, a, b); }
  static Floats load(const float* p) { return vld1q_f32(p); }
  static Floats load_some(const float* p, std::int64_t count) {
    float values[4] = {};
    __builtin_memcpy(values, p, static_cast<std::size_t>(count) * sizeof(float));
    return vld1q_f32(values);
  }
  static float sum(Floats v) {
    const float32x2_t two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
  }

  using Halves = uint16x4_t;
  static Halves load_halves(const char* p) { return vld1_u16(reinterpret_cast<const std::uint16_t*>(p)); }
  static Halves some_halves(const char* p, std::int64_t count) {
    std::uint16_t values[4] = {};
    __builtin_memcpy(values, p, static_cast<std::size_t>(count) * sizeof(std::uint16_t));
    return vld1_u16(values);
  }
  static Floats from_bf16(Halves halves) { return vreinterpretq_f32_u32(vshll_n_u16(halves, 16)); }
  static Floats from_f16(Halves halves) { return vcvt_f32_f16(vreinterpret_f16_u16(halves)); }
};

const char* always(const LinearArgs&) { return nullptr; }

}  // namespace

const LinearKernel kF32 = {"linear_f32_f32_f32_neon", WeightKind::kF32, 0, always,
                           dense_run<Vector, DenseLoad<Vector, WeightKind::kF32>>};
const LinearKernel kBf16 = {"linear_f32_bf16_f32_neon", WeightKind::kBf16, 0, always,
                            dense_run<Vector, DenseLoad<Vector, WeightKind::kBf16>>};
const LinearKernel kF16 = {"linear_f32_f16_f32_neon", WeightKind::kF16, 0, always,
                           dense_run<Vector, DenseLoad<Vector, WeightKind::kF16>>};

}  // namespace awq::kernels::neon
