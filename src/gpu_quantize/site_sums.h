#pragma once

#include <vector>

#include "gpu_quantize/queue.h"

namespace awq::gpu_quantize {

/// quantize::SiteStatistics on the device, and with `corrects` CorrectionStatistics too.
class SiteSums {
 public:
  /// `residual_width` is 0 where the site's linears do not write to the residual stream.
  SiteSums(Queue& queue, std::int64_t width, bool bf16, bool corrects, std::int64_t residual_width);

  /// Adds x [tokens, width].
  void add(const float* x, std::int64_t tokens);
  /// Behind add() of the quantized model's x: what `exact` [tokens, width], which is overwritten, has over it; `gap`
  /// [tokens, residual_width] or null.
  void add_gap(float* exact, const float* x, const float* gap, std::int64_t tokens);
  /// Completes H. Throws kCorruptFile when it is not finite.
  void finish();

  std::int64_t width() const { return width_; }
  const Array<float>& gram() const { return gram_; }
  std::vector<double> mean_abs() const;
  bool corrects() const { return !inputs_.empty(); }
  /// W += (W (X - X^)^T X^ + gap^T X^) H^-1 of rows, with `factor` of the damped H.
  const Array<float>& inputs() const { return inputs_; }
  const Array<float>& residual() const { return residual_; }
  void drop_correction() {
    inputs_ = {};
    residual_ = {};
  }

 private:
  /// out += left^T right; both as a product takes them.
  void accumulate(const void* left, std::int64_t left_width, const void* right, std::int64_t tokens, float* out);
  /// x, rounded to bf16 where products are.
  const void* operand(const float* x, std::int64_t count, Array<std::uint16_t>& rounded);

  Queue& queue_;
  std::int64_t width_, residual_width_;
  bool bf16_;
  std::int64_t tokens_ = 0;
  Array<float> gram_;               ///< [K, K]
  Array<double> magnitudes_;        ///< [K]
  Array<float> inputs_, residual_;  ///< [K, K], [residual_width, K]
  Array<std::uint16_t> right_, left_;
};

}  // namespace awq::gpu_quantize
