#include "gpu_quantize/trace.h"

#include <algorithm>
#include <numeric>

namespace awq::gpu_quantize {

using device::check;
namespace search = kernels::cuda::search;

namespace {
// Columns of H per product: wide enough for the product's speed, narrow enough that half of H is really skipped.
constexpr std::int64_t kColumns = 2048;
constexpr std::int64_t kRowUnit = 256;
}  // namespace

Trace::Trace(Queue& queue, const float* gram, std::int64_t width, bool bf16)
    : queue_(queue), gram_(gram), width_(width), bf16_(bf16) {
  if (!bf16_) return;
  normalised_ = Array<std::uint16_t>(width * width);
  diagonal_ = Array<float>(width);
  check(search::normalise(gram, width, diagonal_.data(), normalised_.data(), queue_.get()),
        "the normalised Gram matrix");
}

double Trace::of(std::int64_t rows, const Fill& fill) {
  const std::int64_t chunk = rows_per_chunk(rows, width_, kRowUnit);
  change_.ensure(chunk * width_ * (bf16_ ? 2 : 4));
  product_.ensure(chunk * width_);
  sums_.ensure(rows);
  for (std::int64_t first = 0; first < rows; first += chunk) {
    const std::int64_t count = std::min(chunk, rows - first);
    fill(first, count, {.diagonal = bf16_ ? diagonal_.data() : nullptr, .out = change_.data()});
    multiply(count);
    check(search::row_dots(change_.data(), bf16_, product_.data(), count, width_, sums_.data() + first, queue_.get()),
          "the sums of a loss");
  }
  std::vector<double> sums(static_cast<std::size_t>(rows));
  queue_.download(std::span<double>(sums), sums_.data());
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

void Trace::multiply(std::int64_t rows) {
  const std::int64_t bytes = bf16_ ? 2 : 4;
  const std::byte* h =
      bf16_ ? reinterpret_cast<const std::byte*>(normalised_.data()) : reinterpret_cast<const std::byte*>(gram_);
  for (std::int64_t begin = 0; begin < width_; begin += kColumns) {
    const std::int64_t columns = std::min(kColumns, width_ - begin);
    const device::MatrixShape shape{
        .bf16 = bf16_, .m = rows, .n = columns, .k = begin, .lda = width_, .ldb = width_, .ldc = width_};
    // Columns before the block meet it twice in the symmetric sum, the block meets itself once.
    if (begin > 0) queue_.multiply(shape, change_.data(), h + begin * bytes, product_.data() + begin, 2);
    device::MatrixShape diagonal = shape;
    diagonal.k = columns;
    queue_.multiply(diagonal, change_.data() + begin * bytes, h + (begin * width_ + begin) * bytes,
                    product_.data() + begin, 1, begin > 0 ? 1.0F : 0.0F);
  }
}

}  // namespace awq::gpu_quantize
