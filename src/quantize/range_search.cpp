#include "quantize/range_search.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "base/stop.h"
#include "ops/gemm.h"
#include "quant/group_quant.h"

namespace awq::quantize {
namespace {

// Rows of W that one task searches together, so that their candidates make one good matrix product.
constexpr std::int64_t kRowsPerTask = 16;
constexpr float kCoarseStep = 0.1F;
constexpr float kFineStep = 0.05F;
constexpr int kCoarseSteps = 6;  // 1.0, 0.9 .. 0.5
constexpr float kSmallest = 0.45F;

struct Shrink {
  float low = 1;
  float high = 1;
};

struct Best {
  Shrink shrink;
  quant::GroupParams params;
  double loss = 0;
  bool set = false;
};

std::vector<Shrink> coarse_candidates(bool symmetric) {
  std::vector<Shrink> out;
  for (int a = 0; a < kCoarseSteps; ++a) {
    for (int b = 0; b < kCoarseSteps; ++b) {
      if (!symmetric || a == b)
        out.push_back({1 - kCoarseStep * static_cast<float>(a), 1 - kCoarseStep * static_cast<float>(b)});
    }
  }
  return out;
}

std::vector<Shrink> fine_candidates(const Shrink& around, bool symmetric) {
  std::vector<Shrink> out;
  for (int a = -1; a <= 1; ++a) {
    for (int b = -1; b <= 1; ++b) {
      if ((a == 0 && b == 0) || (symmetric && a != b)) continue;
      const Shrink s{around.low + kFineStep * static_cast<float>(a), around.high + kFineStep * static_cast<float>(b)};
      if (s.low <= 1 && s.high <= 1 && s.low >= kSmallest && s.high >= kSmallest) out.push_back(s);
    }
  }
  return out;
}

/// Work memory of one thread.
struct Scratch {
  std::vector<float> change, product;
  std::vector<quant::GroupParams> params;
};

/// The candidates of several rows for one group, evaluated by one product with the group's block of H.
class GroupTask {
 public:
  GroupTask(const float* weights, std::int64_t width, const float* gram, std::int64_t group_begin,
            std::int64_t group_size, const quant::Scheme& scheme, DType scale_dtype)
      : weights_(weights),
        width_(width),
        gram_(gram),
        begin_(group_begin),
        size_(group_size),
        scheme_(scheme),
        scale_dtype_(scale_dtype) {}

  /// `candidates[i]` are tried on row row_begin + i.
  void run(std::int64_t row_begin, std::span<const std::vector<Shrink>> candidates, std::span<Best> best,
           Scratch& scratch) const {
    std::int64_t total = 0;
    for (const auto& list : candidates) total += static_cast<std::int64_t>(list.size());
    if (total == 0) return;
    const auto size = static_cast<std::size_t>(total * size_);
    if (scratch.change.size() < size) {
      scratch.change.resize(size);
      scratch.product.resize(size);
    }
    scratch.params.resize(static_cast<std::size_t>(total));
    fill(row_begin, candidates, scratch);
    ops::gemm(ops::GemmF32{.m = total,
                           .n = size_,
                           .k = size_,
                           .a = scratch.change.data(),
                           .lda = size_,
                           .b = gram_ + begin_ * width_ + begin_,
                           .ldb = width_,
                           .c = scratch.product.data(),
                           .ldc = size_});
    std::int64_t at = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      for (const Shrink& shrink : candidates[i]) {
        const double loss = dot(scratch.change.data() + at * size_, scratch.product.data() + at * size_);
        if (!best[i].set || loss < best[i].loss)
          best[i] = {shrink, scratch.params[static_cast<std::size_t>(at)], loss, true};
        ++at;
      }
    }
  }

 private:
  void fill(std::int64_t row_begin, std::span<const std::vector<Shrink>> candidates, Scratch& scratch) const {
    const float largest = static_cast<float>(quant::max_code(scheme_.bits));
    std::int64_t at = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const float* w = weights_ + (row_begin + static_cast<std::int64_t>(i)) * width_ + begin_;
      const quant::Range range = quant::range_of(w, static_cast<std::uint64_t>(size_));
      for (const Shrink& shrink : candidates[i]) {
        const quant::GroupParams p =
            quant::fit_range(range.low * shrink.low, range.high * shrink.high, scheme_, scale_dtype_);
        scratch.params[static_cast<std::size_t>(at)] = p;
        const float zero = static_cast<float>(p.zero_point);
        float* change = scratch.change.data() + at * size_;
        for (std::int64_t k = 0; k < size_; ++k)
          change[k] = (quant::code_of(w[k], p.scale, zero, largest) - zero) * p.scale - w[k];
        ++at;
      }
    }
  }

  double dot(const float* a, const float* b) const {
    double sum = 0;
    for (std::int64_t k0 = 0; k0 < size_; k0 += 64) {
      const std::int64_t k1 = std::min(size_, k0 + 64);
      float part[8] = {};
      for (std::int64_t k = k0; k < k1; ++k) part[(k - k0) % 8] += a[k] * b[k];
      for (const float p : part) sum += p;
    }
    return sum;
  }

  const float* weights_;
  std::int64_t width_;
  const float* gram_;
  std::int64_t begin_;
  std::int64_t size_;
  quant::Scheme scheme_;
  DType scale_dtype_;
};

}  // namespace

RangeSearchResult search_ranges(const float* weights, std::int64_t rows, std::int64_t width, const float* gram,
                                const quant::Scheme& scheme, DType scale_dtype) {
  RangeSearchResult result;
  result.tensor =
      quant::make_tensor(static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(width), scheme, scale_dtype);
  const auto groups = static_cast<std::int64_t>(result.tensor.groups());
  const std::int64_t group_size = width / groups;
  const std::int64_t blocks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  const std::vector<Shrink> coarse = coarse_candidates(scheme.symmetric);
  std::atomic<std::int64_t> clipped{0};
  ParallelError error;
#pragma omp parallel
  {
    Scratch scratch;
#pragma omp for schedule(dynamic, 4)
    for (std::int64_t task = 0; task < groups * blocks; ++task) {
      if (stop_flag().signal_number() != 0) continue;
      error.guard([&] {
        const std::int64_t g = task / blocks;
        const std::int64_t row_begin = task % blocks * kRowsPerTask;
        const std::int64_t count = std::min(kRowsPerTask, rows - row_begin);
        const GroupTask group(weights, width, gram, g * group_size, group_size, scheme, scale_dtype);
        std::array<Best, kRowsPerTask> best{};
        std::vector<std::vector<Shrink>> candidates(static_cast<std::size_t>(count), coarse);
        const std::span<Best> span(best.data(), static_cast<std::size_t>(count));
        group.run(row_begin, candidates, span, scratch);
        for (std::size_t i = 0; i < candidates.size(); ++i)
          candidates[i] = fine_candidates(best[i].shrink, scheme.symmetric);
        group.run(row_begin, candidates, span, scratch);
        for (std::int64_t i = 0; i < count; ++i) {
          const Best& b = best[static_cast<std::size_t>(i)];
          const auto at = static_cast<std::size_t>((row_begin + i) * groups + g);
          result.tensor.scales[at] = b.params.scale;
          result.tensor.zero_points[at] = static_cast<std::uint8_t>(b.params.zero_point);
          if (b.shrink.low < 1 || b.shrink.high < 1) clipped.fetch_add(1, std::memory_order_relaxed);
        }
      });
    }
#pragma omp for schedule(static)
    for (std::int64_t n = 0; n < rows; ++n) {
      quant::encode_row(weights + n * width, static_cast<std::uint64_t>(n), result.tensor);
    }
  }
  error.rethrow();
  stop_flag().throw_if_requested();
  result.clipped_groups = static_cast<double>(clipped.load()) / static_cast<double>(rows * groups);
  return result;
}

}  // namespace awq::quantize
