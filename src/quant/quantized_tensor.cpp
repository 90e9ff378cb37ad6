#include "quant/quantized_tensor.h"

#include <array>

#include "base/check.h"
#include "base/float8.h"

namespace awq::quant {
namespace {

/// The one formula: an exact integer difference, then one rounding.
float dequantized(float scale, std::uint8_t code, int zero_point) {
  return scale * static_cast<float>(static_cast<int>(code) - zero_point);
}

std::array<float, 256> float8_values() {
  std::array<float, 256> values{};
  for (std::size_t code = 0; code < values.size(); ++code)
    values[code] = to_float(E4M3{static_cast<std::uint8_t>(code)});
  return values;
}

void dequantize_float8_row(const std::uint8_t* codes, const float* scales, std::uint64_t groups,
                           std::uint64_t group_size, float* out) {
  static const std::array<float, 256> kValues = float8_values();
  for (std::uint64_t g = 0; g < groups; ++g) {
    for (std::uint64_t k = g * group_size; k < (g + 1) * group_size; ++k) out[k] = scales[g] * kValues[codes[k]];
  }
}

}  // namespace

void dequantize_rows(const QuantizedTensor& tensor, std::uint64_t row_begin, std::uint64_t row_end, float* out) {
  const std::uint64_t width = tensor.in_features;
  const std::uint64_t groups = tensor.groups();
  const std::uint64_t group_size = resolved_group_size(tensor.scheme, width);
  AWQ_CHECK(row_begin <= row_end && row_end <= tensor.out_features && groups * group_size == width);
  AWQ_CHECK(tensor.codes.size() == tensor.out_features * width &&
            tensor.scales.size() == tensor.out_features * groups && tensor.zero_points.size() == tensor.scales.size());
  AWQ_CHECK(tensor.group_index.empty() || tensor.group_index.size() == width);
  for (std::uint64_t n = row_begin; n < row_end; ++n, out += width) {
    const std::uint8_t* codes = tensor.codes.data() + n * width;
    const float* scales = tensor.scales.data() + n * groups;
    const std::uint8_t* zero_points = tensor.zero_points.data() + n * groups;
    if (tensor.scheme.kind == CodeKind::kE4M3) {
      dequantize_float8_row(codes, scales, groups, group_size, out);
      continue;
    }
    if (!tensor.group_index.empty()) {
      for (std::uint64_t k = 0; k < width; ++k) {
        const auto g = static_cast<std::uint64_t>(tensor.group_index[k]);
        out[k] = dequantized(scales[g], codes[k], zero_points[g]);
      }
      continue;
    }
    for (std::uint64_t g = 0; g < groups; ++g) {
      const float scale = scales[g];
      const int zero_point = zero_points[g];
      for (std::uint64_t k = g * group_size; k < (g + 1) * group_size; ++k) {
        out[k] = dequantized(scale, codes[k], zero_point);
      }
    }
  }
}

void dequantize(const QuantizedTensor& tensor, float* out) { dequantize_rows(tensor, 0, tensor.out_features, out); }

}  // namespace awq::quant
