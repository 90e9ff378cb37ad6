#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"

namespace awq::quantize {

/// H + damping * mean(diag H) * I = R R^T with R upper triangular: Cholesky's factorization from the last column to the
/// first. R is the inverse of the upper factor U of H^-1 = U^T U that GPTQ works with, without ever inverting: what
/// columns 0..j leave of the output error of a weight change d is (d R)_j.
class ReverseCholesky {
 public:
  /// `gram` [K, K] symmetric; `order`, when not empty, permutes rows and columns: index i of R is channel order[i]. A
  /// channel that never saw a token (zero on the diagonal) counts as 1 before the damping. When a pivot is not positive
  /// the damping grows tenfold; throws kCorruptFile when that does not help either.
  ReverseCholesky(const float* gram, std::int64_t width, double damping, std::span<const std::int32_t> order = {});

  std::int64_t width() const { return width_; }
  /// [K, K], row-major; numbers below the diagonal are zero.
  const float* factor() const { return factor_.data(); }
  /// x <- x (H + damping)^-1 for rows x [rows, K], of a factor without order.
  void solve(float* x, std::int64_t rows) const;
  static std::uint64_t bytes(std::int64_t width) { return static_cast<std::uint64_t>(width * width) * sizeof(float); }

 private:
  bool factorize();

  std::int64_t width_;
  AlignedBuffer<float> factor_;
};

}  // namespace awq::quantize
