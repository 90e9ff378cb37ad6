#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/float16.h"
#include "ops/linear.h"

namespace awq::quantize {

/// What calibration keeps of the activations X [T, K] at one site: enough to give the exact output error of any change
/// of the weights that read them, whatever T is.
class SiteStatistics {
 public:
  explicit SiteStatistics(std::int64_t width, ops::Precision precision);

  /// Adds `tokens` rows of x [tokens, width].
  void add(const float* x, std::int64_t tokens);
  /// Completes the symmetric matrix; call once after the last add().
  void finish();

  std::int64_t width() const { return width_; }
  std::int64_t tokens() const { return tokens_; }
  /// H = X^T X [K, K], symmetric after finish().
  const float* gram() const { return gram_.data(); }
  float* gram() { return gram_.data(); }
  /// Mean of |x| per channel.
  std::vector<double> mean_abs() const;
  static std::uint64_t bytes(std::int64_t width) { return static_cast<std::uint64_t>(width * width) * sizeof(float); }

 private:
  std::int64_t width_;
  ops::Precision precision_;
  std::int64_t tokens_ = 0;
  AlignedBuffer<float> gram_;
  AlignedBuffer<Bf16> rounded_;
  std::vector<double> sum_abs_;
};

}  // namespace awq::quantize
