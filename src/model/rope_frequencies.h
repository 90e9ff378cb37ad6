#pragma once

#include <cstdint>
#include <vector>

#include "model/config.h"

namespace awq::model {

struct RopeFrequencies {
  std::vector<float> frequencies;  ///< [head_dim / 2]
  float attention_factor = 1;      ///< multiplies cos and sin
};

/// Frequencies for a sequence of `length` tokens; only kDynamic depends on it.
/// Formulas: transformers' modeling_rope_utils; YaRN: Peng et al. 2023, equations 17-22.
RopeFrequencies compute_rope(const RopeConfig& rope, std::int64_t head_dim, std::int64_t length);

/// True when frequencies change as a sequence grows past the trained context.
inline bool depends_on_length(const RopeConfig& rope) { return rope.kind == RopeConfig::Kind::kDynamic; }

}  // namespace awq::model
