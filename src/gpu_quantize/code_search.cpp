#include "gpu_quantize/code_search.h"

#include <algorithm>
#include <numeric>

#include "base/stop.h"
#include "quantize/code_descent.h"
#include "quantize/error_feedback.h"

namespace awq::gpu_quantize {

using device::check;
using kernels::cuda::search::Codes;
using kernels::cuda::search::kBlock;
namespace search = kernels::cuda::search;

namespace {

// As in quantize/code_descent.cpp.
constexpr std::int64_t kSettled = 2000;

/// Products of rows of `change` with columns [begin, begin + size) of a matrix, its first `depth` rows.
void multiply_columns(Queue& queue, const float* change, std::int64_t rows, std::int64_t depth, const float* matrix,
                      std::int64_t width, std::int64_t begin, std::int64_t size, float* out) {
  queue.multiply({.m = rows, .n = size, .k = depth, .lda = width, .ldb = width, .ldc = kBlock}, change, matrix + begin,
                 out);
}

}  // namespace

Codes rows_of(const Codes& codes, std::int64_t first, std::int64_t count) {
  Codes out = codes;
  out.rows = count;
  out.codes += first * codes.width;
  out.scales += first * codes.groups();
  out.zero_points += first * codes.groups();
  return out;
}

Feedback::Feedback(Queue& queue, const float* gram, std::span<const float> diagonal, bool zero_dead)
    : queue_(queue), order_(diagonal.size()) {
  std::iota(order_.begin(), order_.end(), 0);
  const auto size_of = [&](std::int32_t k) {
    const float value = diagonal[static_cast<std::size_t>(k)];
    return value > 0 ? value : 1.0F;
  };
  std::stable_sort(order_.begin(), order_.end(),
                   [&](std::int32_t a, std::int32_t b) { return size_of(a) > size_of(b); });
  std::vector<std::uint8_t> zeroed(diagonal.size(), 0);
  for (std::size_t i = 0; zero_dead && i < zeroed.size(); ++i)
    zeroed[i] = diagonal[static_cast<std::size_t>(order_[i])] > 0 ? 0 : 1;
  order_there_ = uploaded(std::span<const std::int32_t>(order_), queue_);
  zeroed_ = uploaded(std::span<const std::uint8_t>(zeroed), queue_);
  factor_.emplace(queue_, gram, diagonal, quantize::ErrorFeedback::Options{}.damping, order_);
}

void Feedback::encode(const float* weights, const Codes& codes) const {
  const std::int64_t width = codes.width;
  const std::int64_t chunk = rows_per_chunk(codes.rows, width, search::kDescentRows);
  const Array<float> change(chunk * width);
  const Array<float> carried(chunk * kBlock);
  for (std::int64_t first = 0; first < codes.rows; first += chunk) {
    const std::int64_t count = std::min(chunk, codes.rows - first);
    for (std::int64_t begin = 0; begin < width; begin += kBlock) {
      const std::int64_t size = std::min(kBlock, width - begin);
      if (begin > 0)
        multiply_columns(queue_, change.data(), count, begin, factor_->data(), width, begin, size, carried.data());
      check(search::feed_back({.weights = weights + first * width,
                               .codes = rows_of(codes, first, count),
                               .factor = factor_->data(),
                               .order = order_there_.data(),
                               .zeroed = zeroed_.data(),
                               .begin = begin,
                               .size = size,
                               .carried = begin > 0 ? carried.data() : nullptr,
                               .change = change.data()},
                              queue_.get()),
            "error feedback");
    }
    queue_.stream().synchronize();
    stop_flag().throw_if_requested();
  }
}

void descend(Queue& queue, const float* weights, const float* gram, const Codes& codes) {
  const quantize::DescentOptions options;
  const std::int64_t width = codes.width;
  // A group that is cut by the blocks (whole rows) keeps its scale.
  const bool refit = options.refit && codes.group_size <= kBlock && kBlock % codes.group_size == 0;
  const std::int64_t summed = refit ? codes.group_size : width;
  const Array<float> row_sums(width);
  const Array<double> totals(width / summed), sum_scratch(width);
  check(search::group_sums(gram, width, summed, sum_scratch.data(), row_sums.data(), totals.data(), queue.get()),
        "sums of the Gram matrix");
  const std::int64_t chunk = rows_per_chunk(codes.rows, width, search::kDescentRows);
  const Array<float> change(chunk * width);
  const Array<float> gradient(chunk * kBlock);
  const std::int64_t chunks = (chunk + search::kDescentRows - 1) / search::kDescentRows;
  const Array<std::int32_t> moved(chunks), settled(chunks), active(1);
  for (std::int64_t first = 0; first < codes.rows; first += chunk) {
    const std::int64_t count = std::min(chunk, codes.rows - first);
    search::DescentBlock block{.weights = weights + first * width,
                               .codes = rows_of(codes, first, count),
                               .gram = gram,
                               .row_sums = row_sums.data(),
                               .totals = totals.data(),
                               .gradient = gradient.data(),
                               .change = change.data(),
                               .moved = moved.data(),
                               .settled = settled.data()};
    queue.clear(moved.buffer());
    queue.clear(settled.buffer());
    check(search::take_change(block.weights, block.codes, 0, count, {.out = change.data()}, queue.get()),
          "the change of weights");
    for (int pass = 0; pass < options.passes; ++pass) {
      block.refit = refit && pass + 1 < options.passes;
      for (block.begin = 0; block.begin < width; block.begin += kBlock) {
        block.size = std::min(kBlock, width - block.begin);
        multiply_columns(queue, change.data(), count, width, gram, width, block.begin, block.size, gradient.data());
        check(search::descend(block, queue.get()), "descent");
      }
      check(search::settle(count, width, kSettled, moved.data(), settled.data(), active.data(), queue.get()),
            "descent");
      const bool done = downloaded(active, queue).front() == 0;
      stop_flag().throw_if_requested();
      if (done) break;
    }
  }
}

}  // namespace awq::gpu_quantize
