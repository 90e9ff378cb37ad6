#pragma once

#include <algorithm>
#include <cstdint>

#include "quant/quantized_tensor.h"
#include "quant/scheme.h"

namespace awq::quant {

/// Scale and zero point of one group: weight = scale * (code - zero_point).
struct GroupParams {
  float scale = 1;  ///< with the precision of the stored dtype
  int zero_point = 0;
};

constexpr int max_code(int bits) { return (1 << bits) - 1; }

/// Round to nearest, ties to even, for |x| < 2^22. Written as an addition so that it vectorizes on every target.
inline float round_even(float x) {
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23
  return (x + kMagic) - kMagic;
}

/// Code of `weight`: clamp(round(weight / scale) + zero_point, 0, max_code), from the scale as stored.
inline float code_of(float weight, float scale, float zero_point, float largest) {
  // Clamped before the rounding, which is exact only for moderate numbers; the bounds are whole, so the order is free.
  const float q = std::min(std::max(weight / scale, -zero_point), largest - zero_point);
  return round_even(q) + zero_point;
}

/// Parameters that cover [low, high] extended to hold 0. `low <= high`, both finite. Asymmetric:
/// scale = (high - low) / max_code, zero_point = round(-low / scale); symmetric: scale = max|.| / (max_code / 2) and
/// zero_point 2^(bits-1). The scale is rounded to `scale_dtype` first and everything else follows from that.
/// Formula: AutoAWQ's with the range extended to zero; compressed-tensors' for the symmetric case.
GroupParams fit_range(float low, float high, const Scheme& scheme, DType scale_dtype);

/// `scale` with the precision of the stored type.
float stored_scale(float scale, DType dtype);

/// Smallest and largest of `count` >= 1 weights.
struct Range {
  float low, high;
};
Range range_of(const float* weights, std::uint64_t count);

/// An empty canonical tensor of the right sizes.
QuantizedTensor make_tensor(std::uint64_t out_features, std::uint64_t in_features, const Scheme& scheme,
                            DType scale_dtype);
/// Fills the codes of row `row` from weights [K] and the tensor's scales and zero points.
void encode_row(const float* weights, std::uint64_t row, QuantizedTensor& tensor);
/// Plain rounding: the range of each group (or, in E4M3, of each block of rows_per_scale rows) is that of its weights.
/// W [N, K].
QuantizedTensor round_to_nearest(const float* weights, std::uint64_t out_features, std::uint64_t in_features,
                                 const Scheme& scheme, DType scale_dtype);

/// Throws kUnsupported when a weight is too large for scales of `scale_dtype` (F16 ends at 65504).
void check_scales(const QuantizedTensor& tensor, const char* what);

}  // namespace awq::quant
