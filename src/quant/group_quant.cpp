#include "quant/group_quant.h"

#include <cmath>

#include "base/check.h"
#include "base/float16.h"

namespace awq::quant {
namespace {

// The smallest range that gets a scale of its own; keeps scales of all-zero groups positive in F16.
constexpr float kMinRange = 1e-5F;

}  // namespace

float stored_scale(float scale, DType dtype) {
  if (dtype == DType::kF16) return to_float(to_f16(scale));
  if (dtype == DType::kBf16) return to_float(to_bf16(scale));
  return scale;
}

GroupParams fit_range(float low, float high, const Scheme& scheme, DType scale_dtype) {
  low = std::min(low, 0.0F);
  high = std::max(high, 0.0F);
  const int largest = max_code(scheme.bits);
  if (scheme.symmetric) {
    const float half_steps = static_cast<float>(largest) / 2;
    const float scale = stored_scale(std::max({-low, high, kMinRange}) / half_steps, scale_dtype);
    return {scale, 1 << (scheme.bits - 1)};
  }
  const float scale = stored_scale(std::max(high - low, kMinRange) / static_cast<float>(largest), scale_dtype);
  const float zero = std::clamp(std::nearbyint(-low / scale), 0.0F, static_cast<float>(largest));
  return {scale, static_cast<int>(zero)};
}

Range range_of(const float* weights, std::uint64_t count) {
  Range range{weights[0], weights[0]};
  for (std::uint64_t i = 1; i < count; ++i) {
    range.low = weights[i] < range.low ? weights[i] : range.low;
    range.high = weights[i] > range.high ? weights[i] : range.high;
  }
  return range;
}

QuantizedTensor make_tensor(std::uint64_t out_features, std::uint64_t in_features, const Scheme& scheme,
                            DType scale_dtype) {
  QuantizedTensor tensor;
  tensor.out_features = out_features;
  tensor.in_features = in_features;
  tensor.scheme = scheme;
  tensor.scale_dtype = scale_dtype;
  AWQ_CHECK(in_features % resolved_group_size(scheme, in_features) == 0);
  tensor.codes = AlignedBuffer<std::uint8_t>(out_features * in_features);
  tensor.scales = AlignedBuffer<float>(out_features * tensor.groups());
  tensor.zero_points = AlignedBuffer<std::uint8_t>(out_features * tensor.groups());
  return tensor;
}

void encode_row(const float* weights, std::uint64_t row, QuantizedTensor& tensor) {
  const std::uint64_t group_size = resolved_group_size(tensor.scheme, tensor.in_features);
  const std::uint64_t groups = tensor.groups();
  const float largest = static_cast<float>(max_code(tensor.scheme.bits));
  std::uint8_t* codes = tensor.codes.data() + row * tensor.in_features;
  for (std::uint64_t g = 0; g < groups; ++g) {
    const float scale = tensor.scales[row * groups + g];
    const float zero = tensor.zero_points[row * groups + g];
    for (std::uint64_t k = g * group_size; k < (g + 1) * group_size; ++k) {
      codes[k] = static_cast<std::uint8_t>(code_of(weights[k], scale, zero, largest));
    }
  }
}

QuantizedTensor round_to_nearest(const float* weights, std::uint64_t out_features, std::uint64_t in_features,
                                 const Scheme& scheme, DType scale_dtype) {
  QuantizedTensor tensor = make_tensor(out_features, in_features, scheme, scale_dtype);
  const std::uint64_t group_size = resolved_group_size(scheme, in_features);
  const std::uint64_t groups = tensor.groups();
  const auto rows = static_cast<std::int64_t>(out_features);
#pragma omp parallel for schedule(static)
  for (std::int64_t n = 0; n < rows; ++n) {
    const auto row = static_cast<std::uint64_t>(n);
    const float* w = weights + row * in_features;
    for (std::uint64_t g = 0; g < groups; ++g) {
      const Range range = range_of(w + g * group_size, group_size);
      const GroupParams params = fit_range(range.low, range.high, scheme, scale_dtype);
      tensor.scales[row * groups + g] = params.scale;
      tensor.zero_points[row * groups + g] = static_cast<std::uint8_t>(params.zero_point);
    }
    encode_row(w, row, tensor);
  }
  return tensor;
}

void check_scales(const QuantizedTensor& tensor, const char* what) {
  const auto bad =
      std::find_if(tensor.scales.begin(), tensor.scales.end(), [](float s) { return !std::isfinite(s) || s <= 0; });
  if (bad != tensor.scales.end()) {
    fail(ErrorCode::kUnsupported,
         "{}: group {} needs a scale of {}, which {} cannot hold; skip this linear with --skip", what,
         bad - tensor.scales.begin(), *bad, dtype_name(tensor.scale_dtype));
  }
}

}  // namespace awq::quant
