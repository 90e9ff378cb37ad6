#include "quantize/fold_scales.h"

#include <cmath>

#include "base/float16.h"
#include "quant/group_quant.h"

namespace awq::quantize {
namespace {

float round_to(float value, DType dtype) {
  if (dtype == DType::kBf16) return to_float(to_bf16(value));
  if (dtype == DType::kF16) return to_float(to_f16(value));
  return value;
}

}  // namespace

std::vector<float> fold_into_norm(std::span<float> norm, std::span<const float> channel_scale, DType dtype) {
  std::vector<float> effective(norm.size(), 1.0F);
  for (std::size_t k = 0; k < norm.size(); ++k) {
    const float folded = round_to(norm[k] / channel_scale[k], dtype);
    const float scale = norm[k] / folded;
    if (!std::isnormal(folded) || !std::isnormal(scale) || scale <= 0) continue;
    norm[k] = folded;
    effective[k] = scale;
  }
  return effective;
}

void fold_into_rows(float* weights, std::int64_t width, std::span<float> bias, std::span<const float> channel_scale) {
  const auto rows = static_cast<std::int64_t>(channel_scale.size());
#pragma omp parallel for schedule(static)
  for (std::int64_t n = 0; n < rows; ++n) {
    const float scale = channel_scale[static_cast<std::size_t>(n)];
    for (std::int64_t k = 0; k < width; ++k) weights[n * width + k] /= scale;
    if (!bias.empty()) bias[static_cast<std::size_t>(n)] /= scale;
  }
}

void fold_into_rows(quant::QuantizedTensor& tensor, std::span<float> bias, std::span<const float> channel_scale) {
  const std::size_t groups = static_cast<std::size_t>(tensor.groups());
  for (std::size_t n = 0; n < channel_scale.size(); ++n) {
    for (std::size_t g = 0; g < groups; ++g) {
      float& scale = tensor.scales[n * groups + g];
      scale = quant::stored_scale(scale / channel_scale[n], tensor.scale_dtype);
    }
    if (!bias.empty()) bias[n] /= channel_scale[n];
  }
}

void scale_columns(float* weights, std::int64_t rows, std::span<const float> channel_scale) {
  const auto width = static_cast<std::int64_t>(channel_scale.size());
#pragma omp parallel for schedule(static)
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::int64_t k = 0; k < width; ++k) weights[n * width + k] *= channel_scale[static_cast<std::size_t>(k)];
  }
}

void scale_gram(float* gram, std::span<const float> channel_scale) {
  const auto width = static_cast<std::int64_t>(channel_scale.size());
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < width; ++i) {
    const float si = channel_scale[static_cast<std::size_t>(i)];
    for (std::int64_t j = 0; j < width; ++j) gram[i * width + j] /= si * channel_scale[static_cast<std::size_t>(j)];
  }
}

}  // namespace awq::quantize
