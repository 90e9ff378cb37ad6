// Built with AVX2, FMA and F16C: kernel headers and intrinsics only.
#include "kernels/cpu/avx2/activations_avx2.h"

#include <immintrin.h>

namespace awq::kernels::avx2 {
namespace {

/// 32 inputs, zeros beyond `count`.
struct Unit {
  __m256 v[4];

  void load(const float* x, std::int64_t count) {
    for (int i = 0; i < 4; ++i) {
      if (count >= 8 * (i + 1)) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
      } else if (count <= 8 * i) {
        v[i] = _mm256_setzero_ps();
      } else {
        const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        const __m256i valid = _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count) - 8 * i), lanes);
        v[i] = _mm256_maskload_ps(x + 8 * i, valid);
      }
    }
  }
};

float largest_lane(__m256 v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  m = _mm_max_ss(m, _mm_movehdup_ps(m));
  return _mm_cvtss_f32(m);
}

int sum_lanes(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1));
  return _mm_cvtsi128_si32(s);
}

/// 32 int32 to bytes in order.
__m256i narrow(const __m256i q[4]) {
  const __m256i a = _mm256_packs_epi32(q[0], q[1]);
  const __m256i b = _mm256_packs_epi32(q[2], q[3]);
  return _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/// Bytes of one row and plane of a unit to their places.
void put(__m256i bytes, std::int8_t* to, std::int64_t stride) {
  if (stride == 4) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
    return;
  }
  alignas(32) int steps[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(steps), bytes);
  for (int i = 0; i < 8; ++i) __builtin_memcpy(to + i * stride, &steps[i], 4);
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
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
  std::int64_t unit_index = 0;
  for (std::int64_t g = 0; g < to.groups(); ++g) {
    const float* from = x + row * to.k + g * to.group_size;
    float sum = 0;
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t left = to.group_size - b * kInputs;
      Unit units[kUnits];
      __m256 largest_of_lanes = _mm256_setzero_ps();
      __m256 unordered = _mm256_setzero_ps();  // maximum forgets a NaN, so it is kept apart
      for (int u = 0; u < kUnits; ++u) {
        Unit& unit = units[u];
        unit.load(from + b * kInputs + u * kUnitInputs, left - u * kUnitInputs);
        for (const __m256& v : unit.v) {
          largest_of_lanes = _mm256_max_ps(largest_of_lanes, _mm256_and_ps(v, magnitude));
          unordered = _mm256_or_ps(unordered, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        }
      }
      const float largest = largest_lane(largest_of_lanes);
      const bool finite = _mm256_movemask_ps(unordered) == 0 && largest <= 3.402823466e38F;
      const bool nothing = !finite || largest < kSmallestActivation;
      const float inverse = nothing ? 0 : top / largest;
      float scale = nothing ? 0 : largest / top;
      if (!finite) scale = __builtin_nanf("");
      __m256i code_sum = _mm256_setzero_si256();
      for (int u = 0; u < kUnits; ++u, ++unit_index) {
        Unit& unit = units[u];
        if (nothing) unit.load(from, 0);
        std::int8_t* place = codes + (unit_index >> two) * to.planes * plane + (unit_index & two) * kUnitInputs;
        __m256i q[4];
        for (int i = 0; i < 4; ++i) {
          q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(unit.v[i], _mm256_set1_ps(inverse)));
          code_sum = _mm256_add_epi32(code_sum, q[i]);
        }
        if (to.planes == 1) {
          put(narrow(q), place, stride);
          continue;
        }
        __m256i high[4];
        __m256i low[4];
        for (int i = 0; i < 4; ++i) {
          high[i] = _mm256_srai_epi32(_mm256_add_epi32(q[i], _mm256_set1_epi32(64)), 7);
          low[i] = _mm256_sub_epi32(q[i], _mm256_slli_epi32(high[i], 7));
        }
        put(narrow(high), place, stride);
        put(narrow(low), place + plane, stride);
      }
      scales[(g * blocks + b) * rows] = scale;
      sum = _mm_cvtss_f32(
          _mm_fmadd_ss(_mm_set_ss(static_cast<float>(sum_lanes(code_sum))), _mm_set_ss(scale), _mm_set_ss(sum)));
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

const ActivationQuantizer kQuantizeActivations = {"quantize_activations_avx2", 1, quantize};

}  // namespace awq::kernels::avx2
