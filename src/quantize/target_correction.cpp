#include "quantize/target_correction.h"

#include <algorithm>

#include "base/check.h"
#include "base/cpu_features.h"
#include "base/stop.h"
#include "ops/gemm.h"
#include "quantize/reverse_cholesky.h"

namespace awq::quantize {
namespace {

constexpr std::int64_t kRowChunk = 512;

void round_all(const float* from, std::int64_t count, AlignedBuffer<Bf16>& to) {
  to.ensure(static_cast<std::size_t>(count));
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) to[static_cast<std::size_t>(i)] = to_bf16(from[i]);
}

}  // namespace

CorrectionStatistics::CorrectionStatistics(std::int64_t width, std::int64_t residual_width, ops::Precision precision)
    : width_(width),
      residual_width_(residual_width),
      precision_(has_native_bf16() ? precision : ops::Precision::kF32),
      inputs_(static_cast<std::size_t>(width * width)),
      residual_(static_cast<std::size_t>(residual_width * width)) {
  std::fill(inputs_.begin(), inputs_.end(), 0.0F);
  std::fill(residual_.begin(), residual_.end(), 0.0F);
}

void CorrectionStatistics::add(float* exact, const float* quantized, const float* residual_gap, std::int64_t tokens) {
  // The difference before the product: its digits would be lost in the difference of two products.
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < tokens * width_; ++i) exact[i] -= quantized[i];
  if (precision_ == ops::Precision::kBf16) round_all(quantized, tokens * width_, right_);
  multiply(exact, width_, quantized, tokens, inputs_.data());
  if (has_residual()) {
    AWQ_CHECK(residual_gap != nullptr);
    multiply(residual_gap, residual_width_, quantized, tokens, residual_.data());
  }
}

void CorrectionStatistics::multiply(const float* left, std::int64_t left_width, const float* right, std::int64_t tokens,
                                    float* out) {
  if (precision_ == ops::Precision::kBf16) {
    round_all(left, tokens * left_width, left_);
    ops::gemm(ops::GemmBf16{.transpose_a = true,
                            .m = left_width,
                            .n = width_,
                            .k = tokens,
                            .a = left_.data(),
                            .lda = left_width,
                            .b = right_.data(),
                            .ldb = width_,
                            .accumulate = true,
                            .c = out,
                            .ldc = width_});
  } else {
    ops::gemm(ops::GemmF32{.transpose_a = true,
                           .m = left_width,
                           .n = width_,
                           .k = tokens,
                           .a = left,
                           .lda = left_width,
                           .b = right,
                           .ldb = width_,
                           .beta = 1,
                           .c = out,
                           .ldc = width_});
  }
}

void CorrectionStatistics::move(float* weights, std::int64_t rows, const ReverseCholesky& factor) const {
  AWQ_CHECK(!has_residual() || rows == residual_width_);
  AlignedBuffer<float> step(static_cast<std::size_t>(std::min(kRowChunk, rows) * width_));
  for (std::int64_t first = 0; first < rows; first += kRowChunk) {
    stop_flag().throw_if_requested();
    const std::int64_t count = std::min(kRowChunk, rows - first);
    if (has_residual()) std::copy_n(residual_.data() + first * width_, count * width_, step.data());
    ops::gemm(ops::GemmF32{.m = count,
                           .n = width_,
                           .k = width_,
                           .a = weights + first * width_,
                           .lda = width_,
                           .b = inputs_.data(),
                           .ldb = width_,
                           .beta = has_residual() ? 1.0F : 0.0F,
                           .c = step.data(),
                           .ldc = width_});
    factor.solve(step.data(), count);
#pragma omp parallel for schedule(static)
    for (std::int64_t i = 0; i < count * width_; ++i) weights[first * width_ + i] += step[static_cast<std::size_t>(i)];
  }
}

}  // namespace awq::quantize
