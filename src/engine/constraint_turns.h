#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <tuple>
#include <vector>

#include "engine/scheduler.h"

namespace awq::engine {

/// Who takes the token of a step when constraints are expensive: all together may take about as much work as one.
class ConstraintTurns {
 public:
  /// `work_per_step`: of TokenConstraint::work().
  explicit ConstraintTurns(std::int64_t work_per_step) : most_(static_cast<std::uint64_t>(work_per_step)) {}

  void reserve(std::size_t sequences) { order_.reserve(sequences); }

  /// Begins a step. The order in which slices take their results: those whose constraint was expensive of late come
  /// last, and of these the one that has waited longest first. Valid until the next call.
  std::span<const std::size_t> begin(std::span<const ScheduledSlice> slices) {
    work_ = 0;
    order_.resize(slices.size());
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    const auto key = [&](std::size_t i) {
      const Sequence& sequence = *slices[i].sequence;
      return std::tuple(sequence.constraint_expensive, sequence.constraint_expensive ? sequence.constraint_turn : 0, i);
    };
    std::sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
    return order_;
  }

  /// True when the constraints of this step have taken so much that this one is left for a later step, which computes
  /// the same logits again: its tokens do not change.
  bool has_to_wait(const Sequence& sequence) const {
    return sequence.constraint != nullptr && work_ >= (sequence.constraint_expensive ? most_ : 4 * most_);
  }

  /// What the constraint has taken in this step, the `step`-th.
  void count(Sequence& sequence, std::uint64_t step) {
    if (sequence.constraint == nullptr) return;
    constexpr std::uint64_t kExpensiveShare = 64;
    const std::uint64_t taken = sequence.constraint->work() - sequence.constraint_work;
    sequence.constraint_work += taken;
    sequence.constraint_turn = step;
    sequence.constraint_expensive = taken > most_ / kExpensiveShare;
    work_ += taken;
  }

 private:
  std::uint64_t most_;
  std::uint64_t work_ = 0;  ///< of all constraints in this step
  std::vector<std::size_t> order_;
};

}  // namespace awq::engine
