#include <algorithm>

#include "base/stop.h"
#include "gpu_quantize/code_search.h"

namespace awq::gpu_quantize {

using device::check;
using kernels::cuda::search::Codes;
namespace search = kernels::cuda::search;

namespace {

// As in quantize/range_search.cpp.
constexpr float kCoarseStep = 0.1F;
constexpr float kFineStep = 0.05F;
constexpr int kCoarseSteps = 6;  // 1.0, 0.9 .. 0.5
constexpr float kSmallest = 0.45F;

search::Shrinks coarse_shrinks(bool symmetric) {
  search::Shrinks out;
  for (int a = 0; a < kCoarseSteps; ++a) {
    for (int b = 0; b < kCoarseSteps; ++b) {
      if (symmetric && a != b) continue;
      out.low[out.count] = 1 - kCoarseStep * static_cast<float>(a);
      out.high[out.count++] = 1 - kCoarseStep * static_cast<float>(b);
    }
  }
  return out;
}

}  // namespace

void search_ranges(Queue& queue, const float* weights, const float* gram, const Codes& codes) {
  const std::int64_t width = codes.width;
  const std::int64_t size = codes.group_size;
  const search::Shrinks coarse = coarse_shrinks(codes.symmetric);
  const int neighbours = codes.symmetric ? 2 : 8;
  const std::int64_t chunk = rows_per_chunk(codes.rows, coarse.count * size, 16);
  const Array<float> change(chunk * coarse.count * size);
  const Array<float> product(chunk * coarse.count * size);
  const Array<search::RangeBest> best(chunk);
  queue.clear(best.buffer());
  for (std::int64_t begin = 0; begin < width; begin += size) {
    const float* block = gram + begin * width + begin;
    const auto multiply = [&](std::int64_t rows) {
      queue.multiply({.m = rows, .n = size, .k = size, .lda = size, .ldb = width, .ldc = size}, change.data(), block,
                     product.data());
    };
    for (std::int64_t first = 0; first < codes.rows; first += chunk) {
      const std::int64_t count = std::min(chunk, codes.rows - first);
      const search::RangeTask task{.weights = weights + first * width,
                                   .rows = count,
                                   .begin = begin,
                                   .like = rows_of(codes, first, count),
                                   .change = change.data(),
                                   .best = best.data()};
      check(search::fill_coarse(task, coarse, queue.get()), "range search");
      multiply(count * coarse.count);
      check(search::take_coarse(task, coarse, product.data(), queue.get()), "range search");
      check(search::fill_fine(task, neighbours, kFineStep, kSmallest, queue.get()), "range search");
      multiply(count * neighbours);
      check(search::take_fine(task, neighbours, kFineStep, kSmallest, product.data(), queue.get()), "range search");
      check(search::store_best(task, queue.get()), "range search");
    }
    stop_flag().throw_if_requested();
  }
  check(search::encode(weights, codes, queue.get()), "rounding");
}

}  // namespace awq::gpu_quantize
