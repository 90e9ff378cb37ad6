#include "quantize/activation_stats.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/cpu_features.h"
#include "ops/gemm.h"

namespace awq::quantize {
namespace {
// Columns of H that one product computes; only the part of it on and above the diagonal is needed.
constexpr std::int64_t kBlock = 1024;
}  // namespace

SiteStatistics::SiteStatistics(std::int64_t width, ops::Precision precision)
    : width_(width),
      precision_(has_native_bf16() ? precision : ops::Precision::kF32),
      gram_(static_cast<std::size_t>(width * width)),
      sum_abs_(static_cast<std::size_t>(width), 0.0) {}

void SiteStatistics::add(const float* x, std::int64_t tokens) {
  tokens_ += tokens;
  // Channels are split among threads, so that each sum has one order whatever their number.
#pragma omp parallel for schedule(static)
  for (std::int64_t begin = 0; begin < width_; begin += 64) {
    const std::int64_t end = std::min(width_, begin + 64);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t k = begin; k < end; ++k) sum_abs_[static_cast<std::size_t>(k)] += std::fabs(x[t * width_ + k]);
    }
  }
  const bool bf16 = precision_ == ops::Precision::kBf16;
  if (bf16) {
    rounded_.ensure(static_cast<std::size_t>(tokens * width_));
#pragma omp parallel for schedule(static)
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t k = 0; k < width_; ++k)
        rounded_[static_cast<std::size_t>(t * width_ + k)] = to_bf16(x[t * width_ + k]);
    }
  }
  for (std::int64_t begin = 0; begin < width_; begin += kBlock) {
    const std::int64_t end = std::min(width_, begin + kBlock);
    if (bf16) {
      ops::gemm(ops::GemmBf16{.transpose_a = true,
                              .m = end,
                              .n = end - begin,
                              .k = tokens,
                              .a = rounded_.data(),
                              .lda = width_,
                              .b = rounded_.data() + begin,
                              .ldb = width_,
                              .accumulate = true,
                              .c = gram_.data() + begin,
                              .ldc = width_});
    } else {
      ops::gemm(ops::GemmF32{.transpose_a = true,
                             .m = end,
                             .n = end - begin,
                             .k = tokens,
                             .a = x,
                             .lda = width_,
                             .b = x + begin,
                             .ldb = width_,
                             .beta = 1,
                             .c = gram_.data() + begin,
                             .ldc = width_});
    }
  }
}

void SiteStatistics::finish() {
  rounded_ = {};
#pragma omp parallel for schedule(dynamic, 16)
  for (std::int64_t i = 0; i < width_; ++i) {
    for (std::int64_t j = 0; j < i; ++j)
      gram_[static_cast<std::size_t>(i * width_ + j)] = gram_[static_cast<std::size_t>(j * width_ + i)];
  }
  for (std::int64_t i = 0; i < width_; ++i) {
    if (!std::isfinite(gram_[static_cast<std::size_t>(i * width_ + i)])) {
      fail(ErrorCode::kCorruptFile,
           "the activations of channel {} overflow: the model gives no finite numbers on the calibration text", i);
    }
  }
}

std::vector<double> SiteStatistics::mean_abs() const {
  std::vector<double> mean(sum_abs_);
  for (double& value : mean) value /= static_cast<double>(std::max<std::int64_t>(1, tokens_));
  return mean;
}

}  // namespace awq::quantize
