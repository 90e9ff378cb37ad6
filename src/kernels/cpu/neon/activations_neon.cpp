// Kernel headers and intrinsics only.
#include "kernels/cpu/neon/activations_neon.h"

#include <arm_neon.h>

namespace awq::kernels::neon {
namespace {

/// 32 inputs, zeros beyond `count`.
struct Unit {
  float32x4_t v[8];

  void load(const float* x, std::int64_t count) {
    if (count >= kUnitInputs) {
      for (int i = 0; i < 8; ++i) v[i] = vld1q_f32(x + 4 * i);
      return;
    }
    float values[kUnitInputs] = {};
    if (count > 0) __builtin_memcpy(values, x, static_cast<std::size_t>(count) * sizeof(float));
    for (int i = 0; i < 8; ++i) v[i] = vld1q_f32(values + 4 * i);
  }
};

/// Bytes of one row and plane of a unit, given as 32-bit numbers, to their places.
void put(const int32x4_t q[8], std::int8_t* to, std::int64_t stride) {
  for (int half = 0; half < 2; ++half) {
    const int32x4_t* four = q + 4 * half;
    const int16x8_t a = vcombine_s16(vmovn_s32(four[0]), vmovn_s32(four[1]));
    const int16x8_t b = vcombine_s16(vmovn_s32(four[2]), vmovn_s32(four[3]));
    const int32x4_t bytes = vreinterpretq_s32_s8(vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
    int steps[4];
    vst1q_s32(steps, bytes);
    for (int i = 0; i < 4; ++i) __builtin_memcpy(to + (4 * half + i) * stride, &steps[i], 4);
  }
}

/// With scales for kUnits units each.
template <int kUnits>
void quantize_blocks(const Activations& to, const float* x, std::int64_t row) noexcept {
  std::int64_t panel = row * to.panels() / to.m;
  while (to.panel_begin(panel + 1) <= row) ++panel;
  const std::int64_t first = to.panel_begin(panel);
  const std::int64_t rows = to.panel_begin(panel + 1) - first;
  const std::int64_t r = row - first;
  constexpr std::int64_t kInputs = kUnits * kUnitInputs;
  const std::int64_t blocks = to.padded_group() / kInputs;
  const std::int64_t chunk = to.row_major ? to.row_bytes() : kUnitInputs;  // one unit or two
  const std::int64_t two = chunk > kUnitInputs ? 1 : 0;
  const std::int64_t stride = to.row_major ? 4 : 4 * rows;  // from one step of four inputs to the next
  const std::int64_t plane = chunk * rows;
  std::int8_t* codes = to.codes + first * to.planes * to.padded_k() + (to.row_major ? r * chunk : r * 4);
  float* scales = to.scales + first * to.scale_blocks() + r;
  const float top = to.planes == 2 ? 16256.0F : 127.0F;
  std::int64_t unit_index = 0;
  for (std::int64_t g = 0; g < to.groups(); ++g) {
    const float* from = x + row * to.k + g * to.group_size;
    float sum = 0;
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t left = to.group_size - b * kInputs;
      Unit units[kUnits];
      float32x4_t largest_of_lanes = vdupq_n_f32(0);
      for (int u = 0; u < kUnits; ++u) {
        Unit& unit = units[u];
        unit.load(from + b * kInputs + u * kUnitInputs, left - u * kUnitInputs);
        for (const float32x4_t& v : unit.v) largest_of_lanes = vmaxq_f32(largest_of_lanes, vabsq_f32(v));
      }
      const float largest = vmaxvq_f32(largest_of_lanes);  // NaN if there is one
      const bool finite = largest <= 3.402823466e38F;
      const bool nothing = !finite || largest < kSmallestActivation;
      const float inverse = nothing ? 0 : top / largest;
      float scale = nothing ? 0 : largest / top;
      if (!finite) scale = __builtin_nanf("");
      int32x4_t code_sum = vdupq_n_s32(0);
      for (int u = 0; u < kUnits; ++u, ++unit_index) {
        Unit& unit = units[u];
        if (nothing) unit.load(from, 0);
        std::int8_t* place = codes + (unit_index >> two) * to.planes * plane + (unit_index & two) * kUnitInputs;
        int32x4_t q[8];
        for (int i = 0; i < 8; ++i) {
          q[i] = vcvtnq_s32_f32(vmulq_n_f32(unit.v[i], inverse));
          code_sum = vaddq_s32(code_sum, q[i]);
        }
        if (to.planes == 1) {
          put(q, place, stride);
          continue;
        }
        int32x4_t low[8];
        for (int i = 0; i < 8; ++i) {
          const int32x4_t high = vshrq_n_s32(vaddq_s32(q[i], vdupq_n_s32(64)), 7);
          low[i] = vsubq_s32(q[i], vshlq_n_s32(high, 7));
          q[i] = high;
        }
        put(q, place, stride);
        put(low, place + plane, stride);
      }
      scales[(g * blocks + b) * rows] = scale;
      sum = __builtin_fmaf(static_cast<float>(vaddvq_s32(code_sum)), scale, sum);
    }
    to.minus_sums[first * to.groups() + g * rows + r] = -sum;
  }
}

void quantize(const Activations& to, const float* x, std::int64_t row) noexcept {
  switch (to.scale_inputs() / kUnitInputs) {
    case 1:
      return quantize_blocks<1>(to, x, row);
    case 2:
      return quantize_blocks<2>(to, x, row);
    default:
      return quantize_blocks<4>(to, x, row);
  }
}

}  // namespace

const ActivationQuantizer kQuantizeActivations = {"quantize_activations_neon", 0, quantize};

}  // namespace awq::kernels::neon
