#include "gpu_quantize/reverse_factor.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/stop.h"
#include "kernels/api/cuda_search.h"

namespace awq::gpu_quantize {

using device::check;
using kernels::cuda::search::kBlock;
namespace search = kernels::cuda::search;

namespace {
constexpr int kAttempts = 6;
// Columns that one product of an update takes: only the rows down to its own end are needed.
constexpr std::int64_t kStrip = 2048;
}  // namespace

ReverseFactor::ReverseFactor(Queue& queue, const float* gram, std::span<const float> diagonal, double damping,
                             std::span<const std::int32_t> order)
    : queue_(queue),
      width_(static_cast<std::int64_t>(diagonal.size())),
      factor_(width_ * width_),
      lower_(kBlock * kBlock) {
  double mean = 0;
  for (const float value : diagonal) mean += value > 0 ? value : 1.0F;
  mean /= static_cast<double>(width_);
  const Array<std::int32_t> order_there = uploaded(order, queue_);
  for (int attempt = 0; attempt < kAttempts; ++attempt, damping = std::max(damping, 1e-4) * 10) {
    check(search::gather_damped(gram, order.empty() ? nullptr : order_there.data(), width_,
                                static_cast<float>(damping * mean), factor_.data(), queue_.get()),
          "the damped Gram matrix");
    if (factorize()) return;
  }
  fail(ErrorCode::kCorruptFile, "the Gram matrix of the activations is not positive definite: they are not finite");
}

bool ReverseFactor::factorize() {
  float* r = factor_.data();
  const Array<double> scratch(kBlock * kBlock);
  const Array<std::int32_t> failed(1);
  queue_.clear(failed.buffer());
  for (std::int64_t end = width_; end > 0;) {
    const std::int64_t begin = (end - 1) / kBlock * kBlock;
    const std::int64_t size = end - begin;
    check(search::factorize_block(r + begin * width_ + begin, size, width_, scratch.data(), lower_.data(),
                                  failed.data(), queue_.get()),
          "a block of Cholesky's factorization");
    check(search::divide_by_transposed(r + begin, begin, width_, lower_.data(), size, queue_.get()),
          "a step of Cholesky's factorization");
    for (std::int64_t left = 0; left < begin; left += kStrip) {
      const std::int64_t columns = std::min(kStrip, begin - left);
      queue_.multiply({.transpose_b = true,
                       .m = left + columns,
                       .n = columns,
                       .k = size,
                       .lda = width_,
                       .ldb = width_,
                       .ldc = width_},
                      r + begin, r + left * width_ + begin, r + left, -1, 1);
    }
    end = begin;
  }
  check(search::clear_lower(r, width_, queue_.get()), "Cholesky's factorization");
  return downloaded(failed, queue_).front() == 0;
}

void ReverseFactor::solve(float* x, std::int64_t rows) const {
  const float* r = factor_.data();
  for (std::int64_t end = width_; end > 0;) {
    const std::int64_t begin = (end - 1) / kBlock * kBlock;
    const std::int64_t size = end - begin;
    check(search::transpose_block(r + begin * width_ + begin, size, width_, lower_.data(), queue_.get()),
          "a block of Cholesky's factor");
    check(search::divide_by_transposed(x + begin, rows, width_, lower_.data(), size, queue_.get()),
          "a division by Cholesky's factor");
    queue_.multiply(
        {.transpose_b = true, .m = rows, .n = begin, .k = size, .lda = width_, .ldb = width_, .ldc = width_}, x + begin,
        r + begin, x, -1, 1);
    end = begin;
  }
  for (std::int64_t begin = 0; begin < width_; begin += kBlock) {
    const std::int64_t size = std::min(kBlock, width_ - begin);
    const std::int64_t rest = width_ - begin - size;
    check(search::divide_by(x + begin, rows, width_, r + begin * width_ + begin, width_, size, queue_.get()),
          "a division by Cholesky's factor");
    queue_.multiply({.m = rows, .n = rest, .k = size, .lda = width_, .ldb = width_, .ldc = width_}, x + begin,
                    r + begin * width_ + begin + size, x + begin + size, -1, 1);
  }
}

}  // namespace awq::gpu_quantize
