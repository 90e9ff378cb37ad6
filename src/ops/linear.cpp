#include "ops/linear.h"

#include <omp.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "base/check.h"
#include "base/cpu_features.h"
#include "base/float16.h"
#include "base/parallel.h"
#include "ops/gemm.h"
#include "ops/linear_scratch.h"
#include "ops/parallel.h"
#include "quant/group_quant.h"
#include "tensor/convert.h"

namespace awq::ops {
namespace {

using kernels::WeightKind;

WeightKind kind_of(DType dtype) {
  AWQ_CHECK(is_float_weight(dtype));
  if (dtype == DType::kF32) return WeightKind::kF32;
  return dtype == DType::kBf16 ? WeightKind::kBf16 : WeightKind::kF16;
}

DType dtype_of(WeightKind kind) {
  if (kind == WeightKind::kF32) return DType::kF32;
  return kind == WeightKind::kBf16 ? DType::kBf16 : DType::kF16;
}

// Rows of weights that are expanded at a time: small enough for the cache, large enough for a good product.
constexpr std::int64_t kTileRows = 256;

/// The inputs sorted by group, as they come within one: nothing to sort gives an empty order, groups that differ in
/// size none at all.
std::optional<std::vector<std::int32_t>> order_by_group(const quant::QuantizedTensor& tensor) {
  std::vector<std::int32_t> order(tensor.group_index.size());
  if (order.empty()) return order;
  std::iota(order.begin(), order.end(), 0);
  const auto group = [&](std::int32_t k) { return tensor.group_index[static_cast<std::size_t>(k)]; };
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) { return group(a) < group(b); });
  const std::size_t size = order.size() / tensor.groups();
  for (std::size_t j = 0; j < order.size(); ++j) {
    if (static_cast<std::size_t>(group(order[j])) != j / size) return std::nullopt;
  }
  return order;
}

AlignedBuffer<std::byte> packed_memory(const kernels::PackedLayout& layout, PageArena* arena) {
  const auto bytes = static_cast<std::size_t>(layout.bytes());
  return arena != nullptr ? arena->take<std::byte>(bytes) : AlignedBuffer<std::byte>(bytes);
}

/// Codes [N, K] with their columns in `order`; nothing where that is empty.
AlignedBuffer<std::uint8_t> ordered_codes(const quant::QuantizedTensor& tensor, std::span<const std::int32_t> order) {
  if (order.empty()) return {};
  const std::size_t width = order.size();
  AlignedBuffer<std::uint8_t> out(tensor.codes.size());
#pragma omp parallel for schedule(static)
  for (std::uint64_t n = 0; n < tensor.out_features; ++n) {
    for (std::size_t j = 0; j < width; ++j) {
      out[n * width + j] = tensor.codes[n * width + static_cast<std::size_t>(order[j])];
    }
  }
  return out;
}

}  // namespace

AlignedBuffer<std::byte> expanded_to_bf16(const quant::QuantizedTensor& tensor) {
  const std::size_t width = tensor.in_features;
  AlignedBuffer<std::byte> out(tensor.out_features * width * sizeof(Bf16));
  auto* to = reinterpret_cast<Bf16*>(out.data());
  ParallelError error;
#pragma omp parallel
  {
    AlignedBuffer<float> row;
#pragma omp for schedule(static)
    for (std::uint64_t n = 0; n < tensor.out_features; ++n) {
      error.guard([&] {
        row.ensure(width);
        quant::dequantize_rows(tensor, n, n + 1, row.data());
        for (std::size_t k = 0; k < width; ++k) to[n * width + k] = to_bf16(row[k]);
      });
    }
  }
  error.rethrow();
  return out;
}

Linear::Linear(std::uint64_t out_features, std::uint64_t in_features, DType dtype, AlignedBuffer<std::byte> weight,
               AlignedBuffer<float> bias)
    : n_(out_features), k_(in_features), kind_(kind_of(dtype)), weight_(std::move(weight)), bias_(std::move(bias)) {
  AWQ_CHECK(weight_.size() == n_ * k_ * (dtype_bits(dtype) / 8));
  AWQ_CHECK(bias_.empty() || bias_.size() == n_);
}

Linear::Linear(const quant::QuantizedTensor& tensor, AlignedBuffer<float> bias, PageArena* arena)
    : n_(tensor.out_features), k_(tensor.in_features), bias_(std::move(bias)) {
  AWQ_CHECK(bias_.empty() || bias_.size() == n_);
  // The packed kernels know integers in groups of one size.
  const std::optional<std::vector<std::int32_t>> order = order_by_group(tensor);
  if (tensor.scheme.kind != quant::CodeKind::kInteger) {
    // Half of an 8-bit float's step is 2^-4 of the weight at most; bf16 adds 2^-9 and takes half the memory of
    // binary32.
    kind_ = WeightKind::kBf16;
    weight_ = expanded_to_bf16(tensor);
    return;
  }
  if (!order) {
    weight_ = AlignedBuffer<std::byte>(n_ * k_ * sizeof(float));
    quant::dequantize(tensor, reinterpret_cast<float*>(weight_.data()));
    return;
  }
  packed_ = {
      .n = static_cast<std::int64_t>(n_),
      .k = static_cast<std::int64_t>(k_),
      .group_size = static_cast<std::int64_t>(quant::resolved_group_size(tensor.scheme, k_)),
      .bits = static_cast<std::uint8_t>(tensor.scheme.bits <= 4 ? 4 : 8),
      .half_scales = kernels::scales_fit_half(tensor.scales.data(), static_cast<std::int64_t>(tensor.scales.size()))};
  weight_ = packed_memory(packed_, arena);
  input_order_ = *order;
  const AlignedBuffer<std::uint8_t> ordered = ordered_codes(tensor, input_order_);
  const kernels::PackSource source{ordered.empty() ? tensor.codes.data() : ordered.data(), tensor.scales.data(),
                                   tensor.zero_points.data()};
  auto* packed = reinterpret_cast<std::uint8_t*>(weight_.data());
#pragma omp parallel
  {  // each thread first touches what it will read
    const BlockRange range = thread_blocks(packed_.blocks(), omp_get_thread_num(), omp_get_num_threads());
    for (std::int64_t b = range.begin; b < range.end; ++b) {
      kernels::pack_block(packed_, source, b, packed);
    }
  }
}

Linear Linear::rounded_to_int8(PageArena* arena) const {
  AWQ_CHECK(!quantized());
  Linear out;
  out.n_ = n_;
  out.k_ = k_;
  const std::uint64_t group = k_ % 128 == 0 ? 128 : k_ % 64 == 0 ? 64 : k_ % 32 == 0 ? 32 : k_;
  // Scales stay F32: an output row of tiny weights may have one that F16 cannot hold.
  out.packed_ = {.n = static_cast<std::int64_t>(n_),
                 .k = static_cast<std::int64_t>(k_),
                 .group_size = static_cast<std::int64_t>(group),
                 .bits = 8,
                 .half_scales = false};
  const quant::Scheme scheme{.bits = 8, .group_size = out.packed_.group_size, .symmetric = true};
  out.weight_ = packed_memory(out.packed_, arena);
#pragma omp parallel
  {  // the slices below are cut in other ways: pages come to lie near their readers here
    constexpr std::int64_t kPage = 4096;
    const BlockRange range = thread_blocks(out.packed_.blocks(), omp_get_thread_num(), omp_get_num_threads());
    const kernels::PackedLayout& layout = out.packed_;
    const auto touch = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t at = begin; at < end; at += kPage) out.weight_[static_cast<std::size_t>(at)] = std::byte{0};
    };
    touch(layout.codes_at(range.begin), layout.codes_at(range.end));
    touch(layout.scales_at(range.begin), layout.scales_at(range.end));
    touch(layout.zeros_at(range.begin), layout.zeros_at(range.end));
  }
  if (!bias_.empty()) {
    out.bias_ = AlignedBuffer<float>(bias_.size());
    std::copy(bias_.begin(), bias_.end(), out.bias_.begin());
  }
  // A slice at a time, so that no second copy of the whole is resident.
  AlignedBuffer<float> rows(static_cast<std::size_t>(std::min(kTileRows, out.packed_.n)) * k_);
  for (std::int64_t begin = 0; begin < out.packed_.n; begin += kTileRows) {
    const std::int64_t end = std::min(begin + kTileRows, out.packed_.n);
    expand_rows(static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end), rows.data());
    const quant::QuantizedTensor tensor =
        quant::round_to_nearest(rows.data(), static_cast<std::uint64_t>(end - begin), k_, scheme, DType::kF32);
    auto* to = reinterpret_cast<std::uint8_t*>(out.weight_.data());
    const kernels::PackSource source{tensor.codes.data(), tensor.scales.data(), tensor.zero_points.data(), begin};
    constexpr std::int64_t kOutputs = kernels::kBlockOutputs;
    static_assert(kTileRows % kOutputs == 0);
#pragma omp parallel for schedule(static)
    for (std::int64_t b = begin / kOutputs; b < (end + kOutputs - 1) / kOutputs; ++b) {
      kernels::pack_block(out.packed_, source, b, to);
    }
  }
  return out;
}

DType Linear::dtype() const { return dtype_of(kind_); }

AlignedBuffer<std::byte> Linear::take_weight() {
  AWQ_CHECK(!quantized());
  return std::move(weight_);
}

std::uint64_t Linear::resident_bytes() const {
  return weight_.size() + bias_.size() * sizeof(float) + input_order_.size() * sizeof(std::int32_t);
}

void Linear::forward(const float* x, std::int64_t m, float* y, Precision precision) const {
  if (m == 0) return;
  forward_ordered(in_order(x, m), m, y, precision);
}

void Linear::forward_ordered(const float* x, std::int64_t m, float* y, Precision precision) const {
  if (quantized() && activation_precision() != ActivationPrecision::kF32) {
    const Linear* self = this;
    AWQ_CHECK(run_together({&self, 1}, x, m, {&y, 1}));
  } else if (quantized() && m <= kernels::kMaxPackedFloatRows) {
    forward_packed_few(x, m, y);
  } else if (!quantized() && precision == Precision::kBf16 && kind_ == WeightKind::kBf16 && has_native_bf16() &&
             m > kernels::kMaxRows) {
    forward_bf16(x, m, y);
  } else if (!quantized() && (m <= kernels::kMaxRows || runs_in_tiles(kind_))) {
    forward_dense_rows(x, m, y);
  } else {
    forward_many(x, m, y);
  }
}

void Linear::forward_many(const float* x, std::int64_t m, float* y) const {
  const auto n = static_cast<std::int64_t>(n_);
  const auto k = static_cast<std::int64_t>(k_);
  if (!quantized() && kind_ == WeightKind::kF32) {
    gemm(GemmF32{.transpose_b = true,
                 .m = m,
                 .n = n,
                 .k = k,
                 .a = x,
                 .lda = k,
                 .b = reinterpret_cast<const float*>(weight_.data()),
                 .ldb = k,
                 .c = y,
                 .ldc = n});
  } else {
    AlignedBuffer<float> tile(static_cast<std::size_t>(std::min(kTileRows, n) * k));
    for (std::int64_t begin = 0; begin < n; begin += kTileRows) {
      const std::int64_t rows = std::min(kTileRows, n - begin);
      expand_stored(static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(begin + rows), tile.data());
      gemm(GemmF32{.transpose_b = true,
                   .m = m,
                   .n = rows,
                   .k = k,
                   .a = x,
                   .lda = k,
                   .b = tile.data(),
                   .ldb = k,
                   .c = y + begin,
                   .ldc = n});
    }
  }
  add_bias(m, y);
}

void Linear::forward_bf16(const float* x, std::int64_t m, float* y) const {
  const auto n = static_cast<std::int64_t>(n_);
  const auto k = static_cast<std::int64_t>(k_);
  AlignedBuffer<Bf16> rounded(static_cast<std::size_t>(m * k));
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < k; ++j) rounded[static_cast<std::size_t>(i * k + j)] = to_bf16(x[i * k + j]);
  }
  gemm(GemmBf16{.transpose_b = true,
                .m = m,
                .n = n,
                .k = k,
                .a = rounded.data(),
                .lda = k,
                .b = reinterpret_cast<const Bf16*>(weight_.data()),
                .ldb = k,
                .c = y,
                .ldc = n});
  add_bias(m, y);
}

void Linear::add_bias(std::int64_t m, float* y) const {
  if (bias_.empty()) return;
  const auto n = static_cast<std::int64_t>(n_);
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) y[i * n + j] += bias_[static_cast<std::size_t>(j)];
  }
}

void Linear::expand_rows(std::uint64_t begin, std::uint64_t end, float* out) const {
  expand_stored(begin, end, out);
  if (input_order_.empty()) return;
  std::vector<float> row(k_);
  for (float* at = out; at != out + (end - begin) * k_; at += k_) {
    std::copy_n(at, k_, row.begin());
    for (std::size_t j = 0; j < k_; ++j) at[input_order_[j]] = row[j];
  }
}

void Linear::expand_stored(std::uint64_t begin, std::uint64_t end, float* out) const {
  AWQ_CHECK(begin <= end && end <= n_);
  const auto first = static_cast<std::int64_t>(begin);
  const auto last = static_cast<std::int64_t>(end);
#pragma omp parallel for schedule(static)
  for (std::int64_t n = first; n < last; ++n) {
    const auto row = static_cast<std::size_t>(n);
    float* to = out + (row - begin) * k_;
    if (quantized()) {
      kernels::expand_packed(packed_, packed_weight(), n, n + 1, to);
    } else {
      const DType dtype = dtype_of(kind_);
      const std::size_t bytes = k_ * (dtype_bits(dtype) / 8);
      widen_to_float(dtype, {weight_.data() + row * bytes, bytes}, {to, k_});
    }
  }
}

}  // namespace awq::ops
