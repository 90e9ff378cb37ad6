#include "quantize/error_feedback.h"

#include <algorithm>
#include <numeric>

#include "base/stop.h"
#include "ops/gemm.h"
#include "quant/group_quant.h"

namespace awq::quantize {
namespace {

constexpr std::int64_t kRowChunk = 512;
constexpr std::int64_t kBlock = 128;

std::vector<std::int32_t> channel_order(const float* gram, std::int64_t width, bool by_size) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(width));
  std::iota(order.begin(), order.end(), 0);
  if (!by_size) return order;
  const auto size_of = [&](std::int32_t k) { return gram[k * width + k] > 0 ? gram[k * width + k] : 1.0F; };
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return size_of(a) > size_of(b); });
  return order;
}

}  // namespace

ErrorFeedback::ErrorFeedback(const float* gram, std::int64_t width, const Options& options)
    : order_(channel_order(gram, width, options.activation_order)),
      zeroed_(static_cast<std::size_t>(width), 0),
      factor_(gram, width, options.damping, order_) {
  if (!options.zero_dead) return;
  for (std::size_t i = 0; i < zeroed_.size(); ++i) zeroed_[i] = gram[order_[i] * (width + 1)] > 0 ? 0 : 1;
}

void ErrorFeedback::encode(const float* weights, quant::QuantizedTensor& tensor) const {
  const auto rows = static_cast<std::int64_t>(tensor.out_features);
  const std::int64_t width = factor_.width();
  const auto groups = static_cast<std::int64_t>(tensor.groups());
  const std::int64_t group_size = width / groups;
  const float largest = static_cast<float>(quant::max_code(tensor.scheme.bits));
  const float* r = factor_.factor();
  // Weight changes so far, by position in the order, and what they leave of the outputs at the block's columns.
  AlignedBuffer<float> change(static_cast<std::size_t>(std::min(kRowChunk, rows) * width));
  AlignedBuffer<float> carried(static_cast<std::size_t>(std::min(kRowChunk, rows) * kBlock));
  for (std::int64_t first = 0; first < rows; first += kRowChunk) {
    const std::int64_t count = std::min(kRowChunk, rows - first);
    for (std::int64_t begin = 0; begin < width; begin += kBlock) {
      stop_flag().throw_if_requested();
      const std::int64_t size = std::min(kBlock, width - begin);
      if (begin > 0) {
        ops::gemm(ops::GemmF32{.m = count,
                               .n = size,
                               .k = begin,
                               .a = change.data(),
                               .lda = width,
                               .b = r + begin,
                               .ldb = width,
                               .c = carried.data(),
                               .ldc = kBlock});
      } else {
        std::fill(carried.begin(), carried.end(), 0.0F);
      }
#pragma omp parallel for schedule(static)
      for (std::int64_t i = 0; i < count; ++i) {
        const std::int64_t n = first + i;
        float* error = carried.data() + i * kBlock;
        for (std::int64_t j = 0; j < size; ++j) {
          const auto position = static_cast<std::size_t>(begin + j);
          const std::int64_t k = order_[position];
          const float* row = r + (begin + j) * width + begin;
          const auto group = static_cast<std::size_t>(n * groups + k / group_size);
          const float scale = tensor.scales[group];
          const float zero = static_cast<float>(tensor.zero_points[group]);
          const float w = zeroed_[position] != 0 ? 0.0F : weights[n * width + k];
          const float code = quant::code_of(w - error[j] / row[j], scale, zero, largest);
          const float d = (code - zero) * scale - w;
          tensor.codes[static_cast<std::size_t>(n * width + k)] = static_cast<std::uint8_t>(code);
          change[static_cast<std::size_t>(i * width + begin + j)] = d;
          for (std::int64_t c = j + 1; c < size; ++c) error[c] += d * row[c];
        }
      }
    }
  }
}

}  // namespace awq::quantize
