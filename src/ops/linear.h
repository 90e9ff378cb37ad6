#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/page_arena.h"
#include "kernels/api/linear.h"
#include "kernels/api/packed.h"
#include "ops/activation_precision.h"
#include "quant/quantized_tensor.h"
#include "tensor/dtype.h"

namespace awq::ops {

/// Arithmetic of a dense matrix product: binary32 throughout, or bf16 inputs with binary32 sums.
enum class Precision { kF32, kBf16 };

/// True when dense weights of `kind` meet inputs rounded to bf16: BF16 weights where everything else is rounded, too.
bool takes_bf16_inputs(kernels::WeightKind kind);

/// Weights [N, K] of a quantized tensor rounded to bf16, in parallel.
AlignedBuffer<std::byte> expanded_to_bf16(const quant::QuantizedTensor& tensor);

/// y = x * W^T + bias, with W [N, K] resident in the type it was stored in (32 or 16 bits), or packed codes of 4 or 8
/// bits.
class Linear {
 public:
  Linear() = default;
  /// `weight` holds N * K elements of `dtype` (F32, F16, BF16), row-major; `bias` N floats or nothing.
  Linear(std::uint64_t out_features, std::uint64_t in_features, DType dtype, AlignedBuffer<std::byte> weight,
         AlignedBuffer<float> bias);
  /// Packs a canonical tensor, in parallel. Groups that do not follow the inputs (GPTQ's act-order) are packed one
  /// after the other and the inputs put in that order for each product; groups of unequal sizes are expanded to F32.
  /// 8-bit floats are expanded to BF16. Packed codes lie in memory of `arena` where there is one: in huge pages,
  /// streams of reads are faster.
  Linear(const quant::QuantizedTensor& tensor, AlignedBuffer<float> bias, PageArena* arena = nullptr);

  /// The same linear with symmetric codes of 8 bits per group of 128 inputs (64, 32 or all where that does not divide):
  /// half the bytes of 16-bit weights. For dense weights.
  Linear rounded_to_int8(PageArena* arena = nullptr) const;

  std::uint64_t out_features() const { return n_; }
  std::uint64_t in_features() const { return k_; }
  bool empty() const { return n_ == 0; }
  /// True for packed codes.
  bool quantized() const { return packed_.n != 0; }
  /// Bits of packed codes; 0 for dense weights.
  int packed_bits() const { return quantized() ? packed_.bits : 0; }
  /// Type of dense weights; F32 for packed ones.
  DType dtype() const;
  /// Moves dense weights or the bias out; the layer cannot run afterwards.
  AlignedBuffer<std::byte> take_weight();
  AlignedBuffer<float> take_bias() { return std::move(bias_); }
  /// Bytes of weights, scales and zero points that one pass over the layer reads.
  std::uint64_t resident_bytes() const;

  /// x [m, K], y [m, N]. Few rows run a kernel that streams the stored weights. Of many rows, packed weights feed an
  /// integer kernel or, with binary32 activations, are expanded a tile at a time for a dense product. kBf16 takes
  /// effect for BF16 weights on processors that have bf16 products.
  void forward(const float* x, std::int64_t m, float* y, Precision precision = Precision::kF32) const;
  /// Allocates what products of the calling thread with up to `m` rows need beside x and y, for the activation
  /// precision of the moment. Without it the first product does.
  void reserve(std::int64_t m) const;
  /// True when forward() in Precision::kF32 gives a row of y the same bits whatever the other rows are: with integer
  /// activations, or dense and rounded ones.
  bool row_invariant() const {
    return quantized() ? activation_precision() != ActivationPrecision::kF32 : takes_bf16_inputs(kind_);
  }
  /// Weights of rows [begin, end) as floats, in [end - begin, K].
  void expand_rows(std::uint64_t begin, std::uint64_t end, float* out) const;

 private:
  friend void forward_rows_alike(std::span<const Linear* const>, const float*, std::int64_t, std::span<float* const>);
  friend void forward_together(std::span<const Linear* const>, const float*, std::int64_t, std::span<float* const>,
                               Precision);

  /// expand_rows() with the inputs in the order of the packed codes.
  void expand_stored(std::uint64_t begin, std::uint64_t end, float* out) const;
  kernels::PackedArgs packed_args(float* y) const;
  /// x [m, K] in the order of the packed codes: x itself, or a copy in memory of the calling thread that lasts until
  /// its next product.
  const float* in_order(const float* x, std::int64_t m) const;
  /// forward() and forward_together() for inputs that are in the order of the packed codes.
  void forward_ordered(const float* x, std::int64_t m, float* y, Precision precision) const;
  static bool run_together(std::span<const Linear* const> linears, const float* x, std::int64_t m,
                           std::span<float* const> ys);
  const std::uint8_t* packed_weight() const { return reinterpret_cast<const std::uint8_t*>(weight_.data()); }
  void forward_packed_few(const float* x, std::int64_t m, float* y) const;
  void forward_many(const float* x, std::int64_t m, float* y) const;
  void forward_bf16(const float* x, std::int64_t m, float* y) const;
  void add_bias(std::int64_t m, float* y) const;
  /// The kernels for few rows, over tiles of weights when there are more.
  void forward_dense_rows(const float* x, std::int64_t m, float* y) const;
  /// x in the order of the packed codes.
  void forward_packed_rows(const float* x, std::int64_t m, float* y) const;

  std::uint64_t n_ = 0;
  std::uint64_t k_ = 0;
  kernels::WeightKind kind_ = kernels::WeightKind::kF32;  ///< of dense weights
  kernels::PackedLayout packed_{};                        ///< n = 0 for dense weights
  AlignedBuffer<std::byte> weight_;
  AlignedBuffer<float> bias_;
  std::vector<std::int32_t> input_order_;  ///< packed input j is input input_order_[j]; empty: as they come
};

/// ys[i] = linears[i] applied to the one input x [m, K] that all of them read: with integer activations x is rounded
/// once and all products run in one parallel region. The results are those of forward() on each.
void forward_together(std::span<const Linear* const> linears, const float* x, std::int64_t m,
                      std::span<float* const> ys, Precision precision = Precision::kF32);

/// The same with each row of x as if it came alone: the order of the sums does not depend on m. With integer
/// activations that is so anyway; else the kernels for few rows run over tiles of weights that stay in the cache.
void forward_rows_alike(std::span<const Linear* const> linears, const float* x, std::int64_t m,
                        std::span<float* const> ys);

/// The first kernel of the table that can run `args` with weights of `kind` on this processor in the activation
/// precision of the moment.
const kernels::LinearKernel& select_linear(kernels::WeightKind kind, const kernels::LinearArgs& args);
/// Why a row of the table cannot run here, or null.
const char* linear_objection(const kernels::LinearKernel& kernel, const kernels::LinearArgs& args);
/// The same for packed weights: `bits` of the codes, `planes` of the activations, `m` rows of x.
const kernels::PackedKernel& select_packed(int bits, int planes, std::int64_t m);
const char* packed_objection(const kernels::PackedKernel& kernel);
/// The kernel for packed weights and few rows of binary32 activations.
const kernels::PackedFloatKernel& select_packed_float(int bits);

}  // namespace awq::ops
