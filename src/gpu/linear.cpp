#include "gpu/linear.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/parallel.h"
#include "device/device.h"
#include "quant/quantized_tensor.h"
#include "tensor/convert.h"

namespace awq::gpu {
namespace {

constexpr std::size_t kHalfBytes = 2;
constexpr int kBits = 4;

bool has_plain_codes(const model::LinearWeights& part) {
  if (!part.quantized) return false;
  const quant::QuantizedTensor& t = *part.quantized;
  // GPTQ's zero points reach 16, for which the stream has no room.
  return t.scheme.kind == quant::CodeKind::kInteger && t.scheme.bits == kBits && t.group_index.empty() &&
         std::all_of(t.zero_points.begin(), t.zero_points.end(), [](std::uint8_t z) { return z < 1 << kBits; });
}

std::int64_t group_size_of(const quant::QuantizedTensor& tensor) {
  return static_cast<std::int64_t>(quant::resolved_group_size(tensor.scheme, tensor.in_features));
}

/// True when the kernels take all parts as one weight.
bool can_stay_codes(std::span<model::LinearWeights* const> parts, std::uint64_t out_features) {
  if (!std::all_of(parts.begin(), parts.end(), [](const auto* part) { return has_plain_codes(*part); })) return false;
  const std::int64_t group_size = group_size_of(*parts.front()->quantized);
  return std::all_of(parts.begin(), parts.end(), [&](const model::LinearWeights* part) {
    const quant::QuantizedTensor& t = *part->quantized;
    return group_size_of(t) == group_size &&
           kernels::cuda::w4_objection(static_cast<std::int64_t>(out_features),
                                       static_cast<std::int64_t>(t.in_features), group_size, t.scales.data(),
                                       static_cast<std::int64_t>(t.scales.size())) == nullptr;
  });
}

/// One after the other; a single one is moved.
template <typename T, typename Get>
AlignedBuffer<T> join(std::span<model::LinearWeights* const> parts, Get get) {
  if (parts.size() == 1) return std::move(get(*parts.front()));
  std::size_t count = 0;
  for (auto* part : parts) count += get(*part).size();
  AlignedBuffer<T> out(count);
  T* to = out.data();
  for (auto* part : parts) {
    const AlignedBuffer<T>& from = get(*part);
    to = std::copy(from.begin(), from.end(), to);
  }
  return out;
}

AlignedBuffer<std::byte> pack(const FusedWeight& weight, const kernels::cuda::W4Layout& layout) {
  AlignedBuffer<std::byte> out(static_cast<std::size_t>(layout.bytes()));
  const kernels::PackSource source{
      .codes = weight.codes.data(), .scales = weight.scales.data(), .zero_points = weight.zero_points.data()};
  const std::int64_t strips = layout.strips();
  ParallelError error;
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t strip = 0; strip < strips; ++strip) {
    error.guard([&] {
      kernels::cuda::w4_pack_strip(layout, source, strip,
                                   reinterpret_cast<std::uint8_t*>(out.data()) + strip * layout.strip_bytes());
    });
  }
  error.rethrow();
  return out;
}

device::Buffer uploaded(std::span<const std::byte> bytes) {
  device::Buffer out(bytes.size());
  if (!bytes.empty()) device::upload(out.data(), bytes.data(), bytes.size());
  return out;
}

device::Buffer copied(const device::Buffer& from, const device::Stream& stream) {
  device::Buffer out(from.bytes());
  if (from.bytes() != 0) device::copy(out.data(), from.data(), from.bytes(), stream);
  return out;
}

}  // namespace

void to_halves(const model::LinearWeights& weights, Half type, std::byte* out) {
  const DType to = dtype_of(type);
  const std::size_t width = weights.in_features;
  if (!weights.quantized && weights.dtype == to) {
    std::memcpy(out, weights.dense.data(), weights.out_features * width * kHalfBytes);
    return;
  }
  const std::size_t row_bytes = width * (dtype_bits(weights.dtype) / 8);
  const auto rows = static_cast<std::int64_t>(weights.out_features);
  ParallelError error;
#pragma omp parallel
  {
    std::vector<float> row;
    error.guard([&] { row.resize(width); });
#pragma omp for schedule(static)
    for (std::int64_t n = 0; n < rows; ++n) {
      error.guard([&] {
        const auto index = static_cast<std::size_t>(n);
        if (weights.quantized) {
          quant::dequantize_rows(*weights.quantized, index, index + 1, row.data());
        } else {
          widen_to_float(weights.dtype, {weights.dense.data() + index * row_bytes, row_bytes}, row);
        }
        narrow_from_float(to, row, {out + index * width * kHalfBytes, width * kHalfBytes});
      });
    }
  }
  error.rethrow();
}

FusedWeight fuse(std::span<model::LinearWeights* const> parts, Half type) {
  AWQ_CHECK(!parts.empty());
  FusedWeight out;
  out.in_features = parts.front()->in_features;
  bool has_bias = false;
  for (const model::LinearWeights* part : parts) {
    AWQ_CHECK(part->in_features == out.in_features);
    out.out_features += part->out_features;
    has_bias = has_bias || !part->bias.empty();
  }
  if (has_bias) {
    out.bias = AlignedBuffer<float>(out.out_features);
    float* to = out.bias.data();
    for (const model::LinearWeights* part : parts) {
      std::copy(part->bias.begin(), part->bias.end(), to);
      to += part->out_features;
    }
  }
  if (can_stay_codes(parts, out.out_features)) {
    using Weights = model::LinearWeights;
    out.group_size = group_size_of(*parts.front()->quantized);
    out.codes = join<std::uint8_t>(
        parts, [](Weights & w) -> auto& { return w.quantized->codes; });
    out.scales = join<float>(
        parts, [](Weights & w) -> auto& { return w.quantized->scales; });
    out.zero_points = join<std::uint8_t>(
        parts, [](Weights & w) -> auto& { return w.quantized->zero_points; });
    return out;
  }
  out.halves = AlignedBuffer<std::byte>(out.out_features * out.in_features * kHalfBytes);
  std::byte* to = out.halves.data();
  for (const model::LinearWeights* part : parts) {
    to_halves(*part, type, to);
    to += part->out_features * out.in_features * kHalfBytes;
  }
  return out;
}

Linear::Linear(const FusedWeight& weight, Half type)
    : n_(static_cast<std::int64_t>(weight.out_features)), k_(static_cast<std::int64_t>(weight.in_features)) {
  if (weight.quantized()) {
    layout_ = {.n = n_, .k = k_, .group_size = weight.group_size};
    weight_ = uploaded(pack(weight, layout_).span());
    bias_ = uploaded(weight.bias.bytes());
    return;
  }
  weight_ = uploaded(weight.halves.span());
  if (weight.bias.empty()) return;
  std::vector<std::byte> bias(weight.bias.size() * kHalfBytes);
  narrow_from_float(dtype_of(type), weight.bias.span(), bias);
  bias_ = uploaded(bias);
}

Linear Linear::copy(const device::Stream& stream) const {
  Linear out;
  out.n_ = n_;
  out.k_ = k_;
  out.layout_ = layout_;
  out.weight_ = copied(weight_, stream);
  out.bias_ = copied(bias_, stream);
  return out;
}

}  // namespace awq::gpu
