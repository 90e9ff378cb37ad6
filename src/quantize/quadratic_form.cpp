#include "quantize/quadratic_form.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/cpu_features.h"
#include "ops/gemm.h"

namespace awq::quantize {
namespace {

constexpr std::int64_t kRowChunk = 512;
// Columns of H per product: wide enough for the product's speed, narrow enough that half of H is really skipped.
constexpr std::int64_t kColumnBlock = 512;

/// sum over rows i and columns j of weight(j) * a[i][j] * b[i][j], weight 1 inside the diagonal block and 2 before it
/// is folded in by the caller; each row has its own sum so that the order does not depend on threads.
double weighted_dot(const float* a, std::int64_t lda, const float* b, std::int64_t ldb, std::int64_t rows,
                    std::int64_t columns) {
  std::vector<double> sums(static_cast<std::size_t>(rows));
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < rows; ++i) {
    double sum = 0;
    for (std::int64_t j0 = 0; j0 < columns; j0 += 64) {
      const std::int64_t j1 = std::min(columns, j0 + 64);
      float part[8] = {};
      for (std::int64_t j = j0; j < j1; ++j) part[(j - j0) % 8] += a[i * lda + j] * b[i * ldb + j];
      for (const float p : part) sum += p;
    }
    sums[static_cast<std::size_t>(i)] = sum;
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

QuadraticForm::QuadraticForm(const float* gram, std::int64_t width, ops::Precision precision)
    : width_(width), bf16_(precision == ops::Precision::kBf16 && has_native_bf16()), gram_(gram) {
  const auto k = static_cast<std::size_t>(width);
  change_ = AlignedBuffer<float>(static_cast<std::size_t>(kRowChunk) * k);
  product_ = AlignedBuffer<float>(static_cast<std::size_t>(kRowChunk * kColumnBlock));
  if (!bf16_) return;
  rounded_ = AlignedBuffer<Bf16>(static_cast<std::size_t>(kRowChunk) * k);
  normalised_ = AlignedBuffer<Bf16>(k * k);
  diagonal_ = AlignedBuffer<float>(k);
  for (std::size_t i = 0; i < k; ++i) diagonal_[i] = gram[i * k + i] > 0 ? std::sqrt(gram[i * k + i]) : 1.0F;
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < width; ++row) {
    const auto i = static_cast<std::size_t>(row);
    for (std::size_t j = 0; j < k; ++j)
      normalised_[i * k + j] = to_bf16(gram[i * k + j] / (diagonal_[i] * diagonal_[j]));
  }
}

double QuadraticForm::trace(std::int64_t rows, const FillRows& fill) {
  double total = 0;
  for (std::int64_t begin = 0; begin < rows; begin += kRowChunk) {
    const std::int64_t end = std::min(rows, begin + kRowChunk);
    fill(begin, end, change_.data());
    total += bf16_ ? chunk_bf16(end - begin) : chunk_f32(end - begin);
  }
  return total;
}

double QuadraticForm::chunk_f32(std::int64_t rows) {
  double total = 0;
  for (std::int64_t begin = 0; begin < width_; begin += kColumnBlock) {
    const std::int64_t columns = std::min(kColumnBlock, width_ - begin);
    // Columns before the block meet it twice in the symmetric sum, the block meets itself once.
    if (begin > 0) {
      ops::gemm(ops::GemmF32{.m = rows,
                             .n = columns,
                             .k = begin,
                             .alpha = 2,
                             .a = change_.data(),
                             .lda = width_,
                             .b = gram_ + begin,
                             .ldb = width_,
                             .c = product_.data(),
                             .ldc = columns});
    }
    ops::gemm(ops::GemmF32{.m = rows,
                           .n = columns,
                           .k = columns,
                           .a = change_.data() + begin,
                           .lda = width_,
                           .b = gram_ + begin * width_ + begin,
                           .ldb = width_,
                           .beta = begin > 0 ? 1.0F : 0.0F,
                           .c = product_.data(),
                           .ldc = columns});
    total += weighted_dot(product_.data(), columns, change_.data() + begin, width_, rows, columns);
  }
  return total;
}

double QuadraticForm::chunk_bf16(std::int64_t rows) {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < width_; ++j) {
      const auto at = static_cast<std::size_t>(i * width_ + j);
      change_[at] *= diagonal_[static_cast<std::size_t>(j)];
      rounded_[at] = to_bf16(change_[at]);
      change_[at] = to_float(rounded_[at]);
    }
  }
  double total = 0;
  for (std::int64_t begin = 0; begin < width_; begin += kColumnBlock) {
    const std::int64_t columns = std::min(kColumnBlock, width_ - begin);
    for (const bool diagonal : {false, true}) {
      const std::int64_t depth = diagonal ? columns : begin;
      if (depth == 0) continue;
      const std::int64_t first = diagonal ? begin : 0;
      ops::gemm(ops::GemmBf16{.m = rows,
                              .n = columns,
                              .k = depth,
                              .a = rounded_.data() + first,
                              .lda = width_,
                              .b = normalised_.data() + first * width_ + begin,
                              .ldb = width_,
                              .c = product_.data(),
                              .ldc = columns});
      total +=
          (diagonal ? 1 : 2) * weighted_dot(product_.data(), columns, change_.data() + begin, width_, rows, columns);
    }
  }
  return total;
}

std::uint64_t QuadraticForm::bytes(std::int64_t width, ops::Precision precision) {
  const auto k = static_cast<std::uint64_t>(width);
  const std::uint64_t chunk =
      static_cast<std::uint64_t>(kRowChunk) * k * 4 + static_cast<std::uint64_t>(kRowChunk * kColumnBlock) * 4;
  if (precision != ops::Precision::kBf16 || !has_native_bf16()) return chunk;
  return chunk + chunk / 2 + k * k * 2;
}

}  // namespace awq::quantize
