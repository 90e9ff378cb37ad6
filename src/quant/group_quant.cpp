#include "quant/group_quant.h"

#include <cmath>
#include <utility>

#include "base/check.h"
#include "base/float16.h"
#include "base/float8.h"

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
  std::uint8_t* codes = tensor.codes.data() + row * tensor.in_features;
  if (tensor.scheme.kind == CodeKind::kE4M3) {
    for (std::uint64_t k = 0; k < tensor.in_features; ++k) {
      codes[k] = saturated_e4m3(weights[k] / tensor.scales[row * groups + k / group_size]).bits;
    }
    return;
  }
  const float largest = static_cast<float>(max_code(tensor.scheme.bits));
  for (std::uint64_t g = 0; g < groups; ++g) {
    const float scale = tensor.scales[row * groups + g];
    const float zero = tensor.zero_points[row * groups + g];
    for (std::uint64_t k = g * group_size; k < (g + 1) * group_size; ++k) {
      codes[k] = static_cast<std::uint8_t>(code_of(weights[k], scale, zero, largest));
    }
  }
}

namespace {

/// E4M3 with the scale that puts the largest weight of a row, or of a block of rows, at 448. A scale that a 16-bit type
/// rounded down may leave it just above, where it saturates.
QuantizedTensor round_to_float8(const float* weights, QuantizedTensor tensor) {
  const std::uint64_t width = tensor.in_features;
  const std::uint64_t groups = tensor.groups();
  const std::uint64_t group_size = resolved_group_size(tensor.scheme, width);
  const auto block = static_cast<std::uint64_t>(tensor.scheme.rows_per_scale);
  AWQ_CHECK(block > 0);
  const auto blocks = static_cast<std::int64_t>((tensor.out_features + block - 1) / block);
#pragma omp parallel for schedule(static)
  for (std::int64_t b = 0; b < blocks; ++b) {
    const std::uint64_t begin = static_cast<std::uint64_t>(b) * block;
    const std::uint64_t end = std::min(begin + block, tensor.out_features);
    for (std::uint64_t g = 0; g < groups; ++g) {
      float largest = kMinRange;
      for (std::uint64_t n = begin; n < end; ++n) {
        const Range range = range_of(weights + n * width + g * group_size, group_size);
        largest = std::max({largest, range.high, -range.low});
      }
      const float scale = stored_scale(largest / kE4M3Max, tensor.scale_dtype);
      for (std::uint64_t n = begin; n < end; ++n) tensor.scales[n * groups + g] = scale;
    }
    for (std::uint64_t n = begin; n < end; ++n) encode_row(weights + n * width, n, tensor);
  }
  return tensor;
}

}  // namespace

QuantizedTensor round_to_nearest(const float* weights, std::uint64_t out_features, std::uint64_t in_features,
                                 const Scheme& scheme, DType scale_dtype) {
  QuantizedTensor tensor = make_tensor(out_features, in_features, scheme, scale_dtype);
  if (scheme.kind == CodeKind::kE4M3) return round_to_float8(weights, std::move(tensor));
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
