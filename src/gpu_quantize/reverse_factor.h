#pragma once

#include <span>

#include "gpu_quantize/queue.h"

namespace awq::gpu_quantize {

/// quantize::ReverseCholesky on the device: H + damping * mean(diag H) * I = R R^T with R upper triangular.
class ReverseFactor {
 public:
  /// `gram` [K, K] on the device, `diagonal` [K] its diagonal on the host; `order`, when not empty, permutes rows and
  /// columns. Throws kCorruptFile when no damping helps.
  ReverseFactor(Queue& queue, const float* gram, std::span<const float> diagonal, double damping,
                std::span<const std::int32_t> order = {});

  std::int64_t width() const { return width_; }
  /// R [K, K], zeros below the diagonal.
  const float* data() const { return factor_.data(); }
  /// x <- x (H + damping)^-1 for rows x [rows, K], of a factor without order.
  void solve(float* x, std::int64_t rows) const;

 private:
  bool factorize();

  Queue& queue_;
  std::int64_t width_;
  Array<float> factor_;
  Array<float> lower_;  ///< of one block
};

}  // namespace awq::gpu_quantize
