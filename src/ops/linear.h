#pragma once

#include <cstdint>
#include <span>

#include "base/aligned_buffer.h"
#include "kernels/api/linear.h"
#include "quant/quantized_tensor.h"
#include "tensor/dtype.h"

namespace awq::ops {

/// Arithmetic of a matrix product: binary32 throughout, or bf16 inputs with binary32 sums.
enum class Precision { kF32, kBf16 };

/// y = x * W^T + bias, with W [N, K] resident in the type it was stored in: 32 or 16 bits, or 4-bit codes.
class Linear {
 public:
  Linear() = default;
  /// `weight` holds N * K elements of `dtype` (F32, F16, BF16), row-major; `bias` N floats or nothing.
  Linear(std::uint64_t out_features, std::uint64_t in_features, DType dtype, AlignedBuffer<std::byte> weight,
         AlignedBuffer<float> bias);
  /// Packs a canonical tensor; with more than 4 bits or a group_index the weights are expanded to F32 instead.
  Linear(const quant::QuantizedTensor& tensor, AlignedBuffer<float> bias);

  std::uint64_t out_features() const { return n_; }
  std::uint64_t in_features() const { return k_; }
  bool empty() const { return n_ == 0; }
  /// Type of dense weights; F32 for packed ones.
  DType dtype() const;
  /// Moves dense weights or the bias out; the layer cannot run afterwards.
  AlignedBuffer<std::byte> take_weight();
  AlignedBuffer<float> take_bias() { return std::move(bias_); }
  /// Bytes of weights, scales and zero points that one pass over the layer reads.
  std::uint64_t resident_bytes() const;

  /// x [m, K], y [m, N]. Few rows run a kernel that streams the stored weights; many rows expand a tile of weights
  /// once and feed a dense product. kBf16 takes effect for BF16 weights on processors that have bf16 products.
  void forward(const float* x, std::int64_t m, float* y, Precision precision = Precision::kF32) const;
  /// Weights of rows [begin, end) as floats, in [end - begin, K].
  void expand_rows(std::uint64_t begin, std::uint64_t end, float* out) const;

 private:
  void forward_few(const float* x, std::int64_t m, float* y) const;
  void forward_many(const float* x, std::int64_t m, float* y) const;
  void forward_bf16(const float* x, std::int64_t m, float* y) const;
  void add_bias(std::int64_t m, float* y) const;

  std::uint64_t n_ = 0;
  std::uint64_t k_ = 0;
  kernels::WeightKind kind_ = kernels::WeightKind::kF32;
  AlignedBuffer<std::byte> weight_;
  AlignedBuffer<float> scales_;
  AlignedBuffer<std::uint8_t> zero_points_;
  std::uint64_t group_size_ = 0;
  AlignedBuffer<float> bias_;
};

/// The first kernel of the table that can run `args` with weights of `kind` on this processor.
const kernels::LinearKernel& select_linear(kernels::WeightKind kind, const kernels::LinearArgs& args);
/// Why a row of the table cannot run here, or null.
const char* linear_objection(const kernels::LinearKernel& kernel, const kernels::LinearArgs& args);

}  // namespace awq::ops
