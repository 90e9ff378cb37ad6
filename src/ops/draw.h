#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/api/draw.h"

namespace awq::ops {

using kernels::DrawRule;
using kernels::kMaxDrawnIds;

/// Draws tokens from rows of logits. Owns scratch memory; allocates nothing after construction.
class Drawer {
 public:
  /// Less than 2^23 ids.
  explicit Drawer(std::int64_t vocab_size);

  /// What kernels/api/draw.h says of `logits` [vocab_size]. Minus infinity is a logit of no weight, the others are
  /// finite; -1 when there is no other.
  std::int32_t draw(std::span<const float> logits, const DrawRule& rule);

 private:
  std::vector<float> shares_;      ///< [vocab_size]
  std::vector<std::int32_t> ids_;  ///< [vocab_size]
};

/// Index of the largest value, the first among equals; the values hold no NaN.
std::int32_t arg_max(std::span<const float> values);

}  // namespace awq::ops
