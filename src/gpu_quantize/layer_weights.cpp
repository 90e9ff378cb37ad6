#include "gpu_quantize/layer_weights.h"

#include "base/check.h"
#include "gpu_quantize/device_site_search.h"
#include "kernels/api/cuda_search.h"
#include "quantize/layer_passes.h"

namespace awq::gpu_quantize {
namespace {

namespace search = kernels::cuda::search;
using device::check;

Array<std::byte> expanded(Queue& queue, const quant::QuantizedTensor& tensor, bool bf16) {
  AWQ_CHECK(tensor.scheme.kind == quant::CodeKind::kInteger && tensor.group_index.empty());
  const auto codes = uploaded(std::span<const std::uint8_t>(tensor.codes.span()), queue);
  const auto zero_points = uploaded(std::span<const std::uint8_t>(tensor.zero_points.span()), queue);
  const auto scales = uploaded(std::span<const float>(tensor.scales.span()), queue);
  const auto width = static_cast<std::int64_t>(tensor.in_features);
  const search::Codes view{
      .rows = static_cast<std::int64_t>(tensor.out_features),
      .width = width,
      .group_size = static_cast<std::int64_t>(quant::resolved_group_size(tensor.scheme, tensor.in_features)),
      .bits = tensor.scheme.bits,
      .codes = codes.data(),
      .scales = scales.data(),
      .zero_points = zero_points.data()};
  Array<std::byte> out(view.rows * width * (bf16 ? 2 : 4));
  check(search::expand(view, bf16, out.data(), queue.get()), "the expansion of codes");
  return out;
}

DeviceLinear linear_of(Queue& queue, const model::LinearWeights& from, bool bf16) {
  DeviceLinear out;
  out.out_features = static_cast<std::int64_t>(from.out_features);
  out.in_features = static_cast<std::int64_t>(from.in_features);
  out.bias = uploaded(std::span<const float>(from.bias.span()), queue);
  if (from.quantized) {
    out.weight = expanded(queue, *from.quantized, bf16);
  } else if (bf16) {
    AWQ_CHECK(from.dtype == DType::kBf16);
    out.weight = uploaded(std::span<const std::byte>(from.dense.span()), queue);
  } else {
    const AlignedBuffer<float> floats = from.to_floats();
    out.weight = uploaded(std::as_bytes(std::span<const float>(floats.span())), queue);
  }
  return out;
}

}  // namespace

DeviceLayer::DeviceLayer(Queue& queue, const model::Architecture& architecture, const model::LayerWeights& weights,
                         const model::LayerPart& part, bool bf16)
    : input_norm(uploaded(std::span<const float>(weights.input_norm.span()), queue)),
      mlp_norm(uploaded(std::span<const float>(weights.mlp_norm.span()), queue)),
      q_norm(uploaded(std::span<const float>(weights.q_norm.span()), queue)),
      k_norm(uploaded(std::span<const float>(weights.k_norm.span()), queue)) {
  for (const model::LinearSpec& linear : architecture.linears) {
    if (quantize::runs(part, linear.input))
      linears[static_cast<std::size_t>(linear.role)] = linear_of(queue, weights[linear.role], bf16);
  }
}

void DeviceLayer::keep(const model::Architecture& architecture, const std::optional<model::LayerPart>& part) {
  for (const model::LinearSpec& linear : architecture.linears) {
    if (!part || !quantize::runs(*part, linear.input)) linears[static_cast<std::size_t>(linear.role)] = {};
  }
}

}  // namespace awq::gpu_quantize
