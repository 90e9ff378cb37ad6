#pragma once

#include <cstdint>

namespace awq::kernels {

/// What a token needs between its products, one row at a time. All rows of the table give the same bits: lanes are
/// elements modulo 16, nothing is fused that the comments do not fuse.
struct ElementwiseKernel {
  const char* name;
  std::uint8_t min_isa;  ///< awq::Isa as a number
  /// y = x * f * weight, f = 1 / sqrt(sum / width + eps); sum in binary64: lane[i % 16] = fma(x[i], x[i], lane[i %
  /// 16]), then lanes 8 apart are added, 4, 2, 1. y may be x.
  void (*rms_norm)(const float* x, std::int64_t width, const float* weight, float eps, float* y) noexcept;
  /// x = x + added, then the same.
  void (*add_rms_norm)(float* x, const float* added, std::int64_t width, const float* weight, float eps,
                       float* y) noexcept;
  /// x = x + y
  void (*add)(float* x, const float* y, std::int64_t count) noexcept;
  /// gate = gate * sigmoid(gate) * up, from left to right; with e = exp(-|gate|), sigmoid is 1 / (1 + e) or e / (1 +
  /// e).
  void (*silu_multiply)(float* gate, const float* up, std::int64_t count) noexcept;
  /// (a, b) = (a c - b s, b c + a s) for the `half` pairs (v[j], v[j + half]).
  void (*rotate)(float* v, const float* cosine, const float* sine, std::int64_t half) noexcept;
  /// y = exp_nonpositive((x - largest) * factor), largest not below any x; y may be x.
  void (*exp_below)(const float* x, std::int64_t count, float largest, float factor, float* y) noexcept;
};
/// In order of preference, ended by a null name; the last one runs everywhere.
const ElementwiseKernel* elementwise_kernels_cpu();

}  // namespace awq::kernels
