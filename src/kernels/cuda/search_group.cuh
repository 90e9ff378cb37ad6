#pragma once

#include "kernels/api/cuda_search.h"
#include "kernels/cuda/plain_launch.cuh"

/// The rounding of quant/group_quant.h on a device, operation by operation: the same bits.
namespace awq::kernels::cuda::search {

/// Codes::groups() and all_groups() for device code.
__device__ inline std::int64_t groups_of(const Codes& codes) { return codes.width / codes.group_size; }
__device__ inline std::int64_t all_groups_of(const Codes& codes) { return codes.rows * groups_of(codes); }

struct Fit {
  float scale;
  float zero;
};

__device__ inline std::uint16_t bf16_bits(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}
__device__ inline float bf16_value(std::uint16_t bits) {
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
}

/// A positive number with the precision of F16.
__device__ inline float rounded_to_f16(float value) {
  const std::uint32_t magnitude = __float_as_uint(value) & 0x7FFFFFFFU;
  const std::uint32_t sign = __float_as_uint(value) & 0x80000000U;
  if (magnitude > 0x7F800000U) return value;
  if (magnitude >= 0x477FF000U) return __uint_as_float(sign | 0x7F800000U);
  if (magnitude < 0x38800000U) {  // subnormal: a multiple of 2^-24
    const float shifted = __uint_as_float(magnitude) + 0.5F;
    return __uint_as_float(sign | __float_as_uint(shifted - 0.5F));
  }
  return __uint_as_float(sign | ((magnitude + 0xFFFU + ((magnitude >> 13) & 1U)) & 0xFFFFE000U));
}

__device__ inline float stored_scale(float scale, ScaleType type) {
  if (type == ScaleType::kF16) return rounded_to_f16(scale);
  if (type == ScaleType::kBf16) return bf16_value(bf16_bits(scale));
  return scale;
}

__device__ inline float largest_code(int bits) { return static_cast<float>((1 << bits) - 1); }

__device__ inline Fit fit_range(float low, float high, const Codes& scheme) {
  constexpr float kMinRange = 1e-5F;
  low = low < 0 ? low : 0.0F;
  high = high > 0 ? high : 0.0F;
  const float largest = largest_code(scheme.bits);
  if (scheme.symmetric) {
    float magnitude = -low > high ? -low : high;
    magnitude = magnitude > kMinRange ? magnitude : kMinRange;
    return {stored_scale(magnitude / (largest / 2), scheme.scale_type), static_cast<float>(1 << (scheme.bits - 1))};
  }
  const float range = high - low > kMinRange ? high - low : kMinRange;
  const float scale = stored_scale(range / largest, scheme.scale_type);
  float zero = rintf(-low / scale);
  zero = zero < 0 ? 0.0F : zero;
  return {scale, zero < largest ? zero : largest};
}

__device__ inline float code_of(float weight, float scale, float zero, float largest) {
  float q = weight / scale;
  q = q > -zero ? q : -zero;
  q = q < largest - zero ? q : largest - zero;
  return rintf(q) + zero;
}

/// A change as Change says, column k of row `row`.
__device__ inline void put_change(const Change& change, std::int64_t row, std::int64_t width, std::int64_t k,
                                  float value) {
  const std::int64_t at = row * width + k;
  if (change.diagonal == nullptr) {
    static_cast<float*>(change.out)[at] = value;
  } else {
    static_cast<std::uint16_t*>(change.out)[at] = bf16_bits(value * change.diagonal[k]);
  }
}

}  // namespace awq::kernels::cuda::search
