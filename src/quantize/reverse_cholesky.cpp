#include "quantize/reverse_cholesky.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "ops/gemm.h"

namespace awq::quantize {
namespace {

// Columns that are worked on with plain loops; everything outside of them is matrix products.
constexpr std::int64_t kBlock = 128;
constexpr int kAttempts = 6;

/// The transpose of a diagonal block of R, so that inner loops run along rows.
std::vector<float> transposed(const float* block, std::int64_t size, std::int64_t stride) {
  std::vector<float> out(static_cast<std::size_t>(size * size));
  for (std::int64_t i = 0; i < size; ++i) {
    for (std::int64_t j = i; j < size; ++j) out[static_cast<std::size_t>(j * size + i)] = block[i * stride + j];
  }
  return out;
}

/// x <- x B^-T for rows of `size` columns, B upper triangular with transpose `lower`.
void divide_by_transposed(float* x, std::int64_t rows, std::int64_t stride, const std::vector<float>& lower,
                          std::int64_t size) {
#pragma omp parallel for schedule(static)
  for (std::int64_t n = 0; n < rows; ++n) {
    float* row = x + n * stride;
    for (std::int64_t j = size - 1; j >= 0; --j) {
      const float* b = lower.data() + j * size;
      const float value = row[j] / b[j];
      row[j] = value;
      for (std::int64_t i = 0; i < j; ++i) row[i] -= value * b[i];
    }
  }
}

/// x <- x B^-1 for rows of `size` columns, B upper triangular.
void divide_by(float* x, std::int64_t rows, std::int64_t stride, const float* block, std::int64_t block_stride,
               std::int64_t size) {
#pragma omp parallel for schedule(static)
  for (std::int64_t n = 0; n < rows; ++n) {
    float* row = x + n * stride;
    for (std::int64_t j = 0; j < size; ++j) {
      const float* b = block + j * block_stride;
      const float value = row[j] / b[j];
      row[j] = value;
      for (std::int64_t i = j + 1; i < size; ++i) row[i] -= value * b[i];
    }
  }
}

/// B B^T of one diagonal block, in place, in binary64. False when a pivot is not positive.
bool factorize_block(float* block, std::int64_t size, std::int64_t stride) {
  std::vector<double> a(static_cast<std::size_t>(size * size));
  const auto at = [&](std::int64_t i, std::int64_t j) -> double& { return a[static_cast<std::size_t>(i * size + j)]; };
  // Rows of `a` are columns of the block, so that the inner loop runs along memory.
  for (std::int64_t i = 0; i < size; ++i) {
    for (std::int64_t j = i; j < size; ++j) at(j, i) = block[i * stride + j];
  }
  for (std::int64_t j = size - 1; j >= 0; --j) {
    if (!(at(j, j) > 0)) return false;
    const double pivot = std::sqrt(at(j, j));
    for (std::int64_t i = 0; i <= j; ++i) at(j, i) /= pivot;
    at(j, j) = pivot;
    for (std::int64_t k = 0; k < j; ++k) {
      const double factor = at(j, k);
      for (std::int64_t i = 0; i <= k; ++i) at(k, i) -= factor * at(j, i);
    }
  }
  for (std::int64_t i = 0; i < size; ++i) {
    for (std::int64_t j = 0; j < size; ++j) block[i * stride + j] = j < i ? 0.0F : static_cast<float>(at(j, i));
  }
  return true;
}

}  // namespace

ReverseCholesky::ReverseCholesky(const float* gram, std::int64_t width, double damping,
                                 std::span<const std::int32_t> order)
    : width_(width), factor_(static_cast<std::size_t>(width * width)) {
  double mean = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const float diagonal = gram[i * width + i];
    mean += diagonal > 0 ? diagonal : 1.0F;
  }
  mean /= static_cast<double>(width);
  for (int attempt = 0; attempt < kAttempts; ++attempt, damping = std::max(damping, 1e-4) * 10) {
    const float extra = static_cast<float>(damping * mean);
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < width; ++i) {
      const std::int64_t from = order.empty() ? i : order[static_cast<std::size_t>(i)];
      float* row = factor_.data() + i * width;
      for (std::int64_t j = 0; j < width; ++j)
        row[j] = gram[from * width + (order.empty() ? j : order[static_cast<std::size_t>(j)])];
      if (!(row[i] > 0)) row[i] = 1;
      row[i] += extra;
    }
    if (factorize()) return;
  }
  fail(ErrorCode::kCorruptFile, "the Gram matrix of the activations is not positive definite: they are not finite");
}

bool ReverseCholesky::factorize() {
  float* r = factor_.data();
  for (std::int64_t end = width_; end > 0; end = (end - 1) / kBlock * kBlock) {
    const std::int64_t begin = (end - 1) / kBlock * kBlock;
    const std::int64_t size = end - begin;
    if (!factorize_block(r + begin * width_ + begin, size, width_)) return false;
    if (begin == 0) break;
    divide_by_transposed(r + begin, begin, width_, transposed(r + begin * width_ + begin, size, width_), size);
    // Only the upper triangle is needed: a strip of columns takes the rows down to its own end.
    for (std::int64_t left = 0; left < begin; left += 4 * kBlock) {
      const std::int64_t columns = std::min(4 * kBlock, begin - left);
      ops::gemm(ops::GemmF32{.transpose_b = true,
                             .m = left + columns,
                             .n = columns,
                             .k = size,
                             .alpha = -1,
                             .a = r + begin,
                             .lda = width_,
                             .b = r + left * width_ + begin,
                             .ldb = width_,
                             .beta = 1,
                             .c = r + left,
                             .ldc = width_});
    }
  }
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < width_; ++i) std::fill_n(r + i * width_, i, 0.0F);
  return true;
}

void ReverseCholesky::solve(float* x, std::int64_t rows) const {
  const float* r = factor_.data();
  for (std::int64_t end = width_; end > 0; end = (end - 1) / kBlock * kBlock) {
    const std::int64_t begin = (end - 1) / kBlock * kBlock;
    const std::int64_t size = end - begin;
    divide_by_transposed(x + begin, rows, width_, transposed(r + begin * width_ + begin, size, width_), size);
    if (begin == 0) break;
    ops::gemm(ops::GemmF32{.transpose_b = true,
                           .m = rows,
                           .n = begin,
                           .k = size,
                           .alpha = -1,
                           .a = x + begin,
                           .lda = width_,
                           .b = r + begin,
                           .ldb = width_,
                           .beta = 1,
                           .c = x,
                           .ldc = width_});
  }
  for (std::int64_t begin = 0; begin < width_; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, width_ - begin);
    divide_by(x + begin, rows, width_, r + begin * width_ + begin, width_, size);
    const std::int64_t rest = width_ - begin - size;
    if (rest == 0) break;
    ops::gemm(ops::GemmF32{.m = rows,
                           .n = rest,
                           .k = size,
                           .alpha = -1,
                           .a = x + begin,
                           .lda = width_,
                           .b = r + begin * width_ + begin + size,
                           .ldb = width_,
                           .beta = 1,
                           .c = x + begin + size,
                           .ldc = width_});
  }
}

}  // namespace awq::quantize
