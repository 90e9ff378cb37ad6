#pragma once

#include <span>

#include "kernels/api/draw.h"

namespace awq::kernels::ref {

/// The definition of kernels/api/draw.h word for word, by sorting. -1 where a logit is not finite.
std::int32_t draw(std::span<const float> logits, const DrawRule& rule);

}  // namespace awq::kernels::ref
