// Rounding of activations, written once over a type of lanes (V) and compiled in each instruction-set file like
// attention_body.h.
//
// V has kLanes; Floats, Ints; zero(), load(p) and load_some(p, count) of floats, zeros behind `count` (0 <= count <=
// kLanes); larger(most, v), the larger one of `most` and the magnitude of v, and largest(most) of all lanes, where NaN
// is the largest; round(v, factor): v * factor to the nearest integers, ties to even; zero_ints(), add(a, b), sum(v);
// high(q) = (q + 64) >> 7, low(q, high) = q - (high << 7); and put(q, to, stride): the low bytes of a unit's q, in
// pieces of four that lie `stride` apart.
#pragma once

#include <cstdint>

#include "kernels/api/packed.h"

namespace awq::kernels {
namespace {

template <typename V>
struct ActivationsBody {
  static constexpr int kVectors = kUnitInputs / V::kLanes;
  using Ints = typename V::Ints;

  /// Inputs of a unit, zeros from `count` on.
  struct Unit {
    typename V::Floats v[kVectors];

    void load(const float* x, std::int64_t count) {
      for (int i = 0; i < kVectors; ++i) {
        const std::int64_t left = count - i * V::kLanes;
        v[i] = left >= V::kLanes ? V::load(x + i * V::kLanes)
                                 : V::load_some(x + (left > 0 ? i * V::kLanes : 0), left > 0 ? left : 0);
      }
    }
  };

  /// With scales for kUnits units each.
  template <int kUnits>
  static void quantize_blocks(const Activations& to, const float* x, std::int64_t row) {
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
    const auto top = static_cast<float>(to.planes == 2 ? kLargestWideActivation : kLargestActivation);
    std::int64_t unit_index = 0;
    for (std::int64_t g = 0; g < to.groups(); ++g) {
      const float* from = x + row * to.k + g * to.group_size;
      float sum = 0;
      for (std::int64_t b = 0; b < blocks; ++b) {
        const std::int64_t left = to.group_size - b * kInputs;
        Unit units[kUnits];
        typename V::Floats most = V::zero();
        for (int u = 0; u < kUnits; ++u) {
          units[u].load(from + b * kInputs + u * kUnitInputs, left - u * kUnitInputs);
          for (const auto& v : units[u].v) most = V::larger(most, v);
        }
        const float largest = V::largest(most);
        const bool finite = largest <= 3.402823466e38F;  // not so for NaN
        const bool nothing = !finite || largest < kSmallestActivation;
        const float inverse = nothing ? 0 : top / largest;
        float scale = nothing ? 0 : largest / top;
        if (!finite) scale = __builtin_nanf("");
        Ints code_sum = V::zero_ints();
        for (int u = 0; u < kUnits; ++u, ++unit_index) {
          Unit& unit = units[u];
          if (nothing) unit.load(from, 0);
          std::int8_t* place = codes + (unit_index >> two) * to.planes * plane + (unit_index & two) * kUnitInputs;
          Ints q[kVectors];
          for (int i = 0; i < kVectors; ++i) {
            q[i] = V::round(unit.v[i], inverse);
            code_sum = V::add(code_sum, q[i]);
          }
          if (to.planes == 1) {
            V::put(q, place, stride);
            continue;
          }
          Ints low[kVectors];
          for (int i = 0; i < kVectors; ++i) {
            const Ints high = V::high(q[i]);
            low[i] = V::low(q[i], high);
            q[i] = high;
          }
          V::put(q, place, stride);
          V::put(low, place + plane, stride);
        }
        scales[(g * blocks + b) * rows] = scale;
        sum = __builtin_fmaf(static_cast<float>(V::sum(code_sum)), scale, sum);
      }
      to.minus_sums[first * to.groups() + g * rows + r] = -sum;
    }
  }
};

template <typename V>
void quantize_activations(const Activations& to, const float* x, std::int64_t row) noexcept {
  switch (to.scale_inputs() / kUnitInputs) {
    case 1:
      return ActivationsBody<V>::template quantize_blocks<1>(to, x, row);
    case 2:
      return ActivationsBody<V>::template quantize_blocks<2>(to, x, row);
    default:
      return ActivationsBody<V>::template quantize_blocks<4>(to, x, row);
  }
}

}  // namespace
}  // namespace awq::kernels
