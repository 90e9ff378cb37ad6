#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/dense_product.h"
#include "device/memory.h"
#include "kernels/api/cuda_linear.h"
#include "model/model_files.h"

namespace awq::gpu {

using kernels::cuda::Half;

/// What stands for w4_expand() with a product of cublasLt in lists of kernels.
inline constexpr const char* kPanelName = "panel";

constexpr DType dtype_of(Half type) { return type == Half::kF16 ? DType::kF16 : DType::kBf16; }

/// Linears that read the same input as one of all their rows, those of the first one first. [out_features, in_features]
struct FusedWeight {
  std::uint64_t out_features = 0, in_features = 0;
  /// Codes of 4 bits that the kernels can run as they are; empty for a 16-bit weight.
  AlignedBuffer<std::uint8_t> codes;        ///< [out, in]
  AlignedBuffer<float> scales;              ///< [out, groups]
  AlignedBuffer<std::uint8_t> zero_points;  ///< [out, groups]
  std::int64_t group_size = 0;
  AlignedBuffer<std::byte> halves;  ///< [out, in] in the type of the activations; empty with codes
  AlignedBuffer<float> bias;        ///< [out] or empty; a part without bias has zeros

  bool quantized() const { return !codes.empty(); }
};

/// Fuses linears of equal in_features and consumes them. Codes are kept when every part has them in the same groups and
/// the kernels take them; otherwise all parts are expanded to 16 bits (docs/numerics.md, "On NVIDIA devices").
FusedWeight fuse(std::span<model::LinearWeights* const> parts, Half type);

/// A linear on the device: y = x W^T (+ bias).
class Linear {
 public:
  Linear() = default;
  /// Packs and uploads.
  Linear(const FusedWeight& weight, Half type);
  /// A copy of another one in memory of its own.
  Linear copy(const device::Stream& stream) const;

  std::int64_t out_features() const { return n_; }
  std::int64_t in_features() const { return k_; }
  bool empty() const { return n_ == 0; }
  bool quantized() const { return layout_.n != 0; }
  const kernels::cuda::W4Layout& layout() const { return layout_; }
  /// Bytes that a token reads.
  std::uint64_t bytes() const { return weight_.bytes() + bias_.bytes(); }
  const void* weight() const { return weight_.data(); }
  /// [n]: binary32 with codes, half without; null without a bias.
  const void* bias() const { return bias_.data(); }

 private:
  std::int64_t n_ = 0, k_ = 0;
  kernels::cuda::W4Layout layout_{};  ///< n = 0 for 16-bit weights
  device::Buffer weight_, bias_;
};

/// Elements of stored weights in the type `type`, [out_features, in_features], in parallel.
void to_halves(const model::LinearWeights& weights, Half type, std::byte* out);

}  // namespace awq::gpu
