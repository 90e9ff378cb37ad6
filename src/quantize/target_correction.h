#pragma once

#include <cstdint>

#include "base/aligned_buffer.h"
#include "base/float16.h"
#include "ops/linear.h"

namespace awq::quantize {

class ReverseCholesky;

/// What the activations X of the original model have over those of the quantized one, X^, at one site: enough to move
/// the weights to where they make up for the errors of all layers before them.
class CorrectionStatistics {
 public:
  /// `residual_width` is 0 where the site's linears do not write to the residual stream.
  CorrectionStatistics(std::int64_t width, std::int64_t residual_width, ops::Precision precision);

  /// `exact` and `quantized` are X and X^ [tokens, width]; `residual_gap` what the residual stream of the original
  /// model has over that of the quantized one [tokens, residual_width], or null. `exact` is overwritten.
  void add(float* exact, const float* quantized, const float* residual_gap, std::int64_t tokens);

  std::int64_t width() const { return width_; }
  bool has_residual() const { return residual_width_ > 0; }
  /// Adds to W [rows, K] the damped least-squares weights that turn X^ W^T into X W^T (plus the residual gap):
  /// W += (W (X - X^)^T X^ + gap^T X^) (X^^T X^ + damping)^-1. `factor` is that of the damped X^^T X^.
  /// Source: GPTAQ's asymmetric calibration, in closed form.
  void move(float* weights, std::int64_t rows, const ReverseCholesky& factor) const;

  static std::uint64_t bytes(std::int64_t width, std::int64_t residual_width) {
    return static_cast<std::uint64_t>(width * (width + residual_width)) * sizeof(float);
  }

 private:
  void multiply(const float* left, std::int64_t left_width, const float* right, std::int64_t tokens, float* out);

  std::int64_t width_;
  std::int64_t residual_width_;
  ops::Precision precision_;
  AlignedBuffer<float> inputs_;    ///< (X - X^)^T X^ [K, K]
  AlignedBuffer<float> residual_;  ///< gap^T X^ [residual_width, K]
  AlignedBuffer<Bf16> left_, right_;
};

/// Part of the mean of the diagonal that the correction's least squares are damped with.
inline constexpr double kCorrectionDamping = 0.01;

}  // namespace awq::quantize
