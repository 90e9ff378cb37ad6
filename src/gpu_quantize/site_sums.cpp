#include "gpu_quantize/site_sums.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/api/cuda_calibrate.h"
#include "kernels/api/cuda_search.h"

namespace awq::gpu_quantize {

using device::check;
namespace calibrate = kernels::cuda::calibrate;

namespace {
// Columns of H that one product computes; only the part of it on and above the diagonal is needed.
constexpr std::int64_t kColumns = 1024;
}  // namespace

SiteSums::SiteSums(Queue& queue, std::int64_t width, bool bf16, bool corrects, std::int64_t residual_width)
    : queue_(queue),
      width_(width),
      residual_width_(residual_width),
      bf16_(bf16),
      gram_(width * width),
      magnitudes_(width),
      inputs_(corrects ? width * width : 0),
      residual_(corrects ? residual_width * width : 0) {
  queue_.clear(gram_.buffer());
  queue_.clear(magnitudes_.buffer());
  if (!inputs_.empty()) queue_.clear(inputs_.buffer());
  if (!residual_.empty()) queue_.clear(residual_.buffer());
}

const void* SiteSums::operand(const float* x, std::int64_t count, Array<std::uint16_t>& rounded) {
  if (!bf16_) return x;
  rounded.ensure(count);
  check(calibrate::to_bf16(x, count, rounded.data(), queue_.get()), "rounding of activations");
  return rounded.data();
}

void SiteSums::add(const float* x, std::int64_t tokens) {
  tokens_ += tokens;
  check(calibrate::add_magnitudes(x, tokens, width_, magnitudes_.data(), queue_.get()), "sums of activations");
  const void* operand_x = operand(x, tokens * width_, right_);
  const std::int64_t bytes = bf16_ ? 2 : 4;
  for (std::int64_t begin = 0; begin < width_; begin += kColumns) {
    const std::int64_t end = std::min(width_, begin + kColumns);
    queue_.multiply({.bf16 = bf16_,
                     .transpose_a = true,
                     .m = end,
                     .n = end - begin,
                     .k = tokens,
                     .lda = width_,
                     .ldb = width_,
                     .ldc = width_},
                    operand_x, static_cast<const std::byte*>(operand_x) + begin * bytes, gram_.data() + begin, 1, 1);
  }
}

void SiteSums::accumulate(const void* left, std::int64_t left_width, const void* right, std::int64_t tokens,
                          float* out) {
  queue_.multiply({.bf16 = bf16_,
                   .transpose_a = true,
                   .m = left_width,
                   .n = width_,
                   .k = tokens,
                   .lda = left_width,
                   .ldb = width_,
                   .ldc = width_},
                  left, right, out, 1, 1);
}

void SiteSums::add_gap(float* exact, const float* x, const float* gap, std::int64_t tokens) {
  // The difference before the product: its digits would be lost in the difference of two products.
  check(calibrate::subtract(exact, x, tokens * width_, queue_.get()), "the gap of activations");
  const void* right = bf16_ ? static_cast<const void*>(right_.data()) : x;  // add() has rounded it
  accumulate(operand(exact, tokens * width_, left_), width_, right, tokens, inputs_.data());
  if (residual_width_ == 0) return;
  AWQ_CHECK(gap != nullptr);
  accumulate(operand(gap, tokens * residual_width_, left_), residual_width_, right, tokens, residual_.data());
}

void SiteSums::finish() {
  right_ = {};
  left_ = {};
  check(calibrate::mirror(gram_.data(), width_, queue_.get()), "the Gram matrix");
  const Array<float> diagonal(width_);
  check(kernels::cuda::search::take_diagonal(gram_.data(), width_, diagonal.data(), queue_.get()), "its diagonal");
  const std::vector<float> values = downloaded(diagonal, queue_);
  const auto bad = std::find_if(values.begin(), values.end(), [](float value) { return !std::isfinite(value); });
  if (bad != values.end()) {
    fail(ErrorCode::kCorruptFile,
         "the activations of channel {} overflow: the model gives no finite numbers on the calibration text",
         bad - values.begin());
  }
}

std::vector<double> SiteSums::mean_abs() const {
  std::vector<double> mean = downloaded(magnitudes_, queue_);
  for (double& value : mean) value /= static_cast<double>(std::max<std::int64_t>(1, tokens_));
  return mean;
}

}  // namespace awq::gpu_quantize
