#include "ops/draw.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/check.h"
#include "kernels/draw_row.h"
#include "ops/elementwise.h"

namespace awq::ops {
namespace {

/// Largest of some numbers that hold no NaN. Lanes of their own, because a compiler may not reorder one running
/// maximum.
float largest_of(std::span<const float> values) {
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> lanes;
  lanes.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] = values[i + j] > lanes[j] ? values[i + j] : lanes[j];
  }
  for (; i < values.size(); ++i) lanes[0] = std::max(lanes[0], values[i]);
  return *std::max_element(lanes.begin(), lanes.end());
}

std::int32_t first_of(std::span<const float> values, float value) {
  return static_cast<std::int32_t>(std::find(values.begin(), values.end(), value) - values.begin());
}

/// One thread, which does the work of a team in turn: a sum over the ids is followed by one over a 64th of them.
struct Alone {
  static constexpr int kGroups = 64;
  static constexpr int kLanes = 1;
  template <class F>
  void each(F f) const {
    for (std::int32_t thread = 0; thread < kGroups; ++thread) f(thread);
  }
  template <class T>
  void add(T& place, T value) const {
    place += value;
  }
};

/// All shares first; what a filter leaves is then copied to the front with its ids, so that one pass reads them all.
class Candidates {
 public:
  Candidates(float* shares, std::int32_t* ids, std::int32_t count) : shares_(shares), ids_(ids), count_(count) {}
  std::int32_t count() const { return count_; }
  std::uint32_t bits(std::int32_t i) const { return kernels::share_bits(shares_[i]); }
  std::int32_t id(std::int32_t i) const { return narrowed_ ? ids_[i] : i; }
  void narrow(std::uint32_t smallest) {
    std::int32_t kept = 0;
    for (std::int32_t i = 0; i < count_; ++i) {
      if (bits(i) < smallest) continue;
      ids_[kept] = id(i);
      shares_[kept++] = shares_[i];
    }
    count_ = kept;
    narrowed_ = true;
  }

 private:
  float* shares_;
  std::int32_t* ids_;
  std::int32_t count_;
  bool narrowed_ = false;
};

}  // namespace

std::int32_t arg_max(std::span<const float> values) { return first_of(values, largest_of(values)); }

Drawer::Drawer(std::int64_t vocab_size)
    : shares_(static_cast<std::size_t>(vocab_size)), ids_(static_cast<std::size_t>(vocab_size)) {
  AWQ_CHECK(vocab_size < kernels::kMaxDrawnIds);
}

std::int32_t Drawer::draw(std::span<const float> logits, const DrawRule& rule) {
  AWQ_CHECK(logits.size() == shares_.size());
  const float largest = largest_of(logits);
  if (largest == -std::numeric_limits<float>::infinity()) return -1;
  if (rule.factor == 0) return first_of(logits, largest);
  const auto count = static_cast<std::int64_t>(logits.size());
  select_elementwise().exp_below(logits.data(), count, largest, rule.factor, shares_.data());
  Candidates row(shares_.data(), ids_.data(), static_cast<std::int32_t>(count));
  using Work = kernels::RowDraw<Alone, Candidates>;
  Work::Scratch scratch;
  return Work({}, scratch, row).draw(rule);
}

}  // namespace awq::ops
