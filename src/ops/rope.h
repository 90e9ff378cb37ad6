#pragma once

#include <cstdint>
#include <vector>

namespace awq::ops {

/// cos and sin of each position's angles, scaled by the attention factor.
struct RopeTable {
  std::int64_t pairs = 0;           ///< rotated pairs per head: head_dim / 2
  std::vector<float> cosine, sine;  ///< [positions, pairs]

  /// Angles of positions [0, positions) at the given frequencies, computed as position * frequency in binary32 as the
  /// reference implementations do.
  static RopeTable make(const std::vector<float>& frequencies, float attention_factor, std::int64_t positions);
};

/// Rotates x [rows, heads * head_dim] in place, row t at position positions[t], pairs (j, j + head_dim / 2).
void apply_rope(float* x, std::int64_t rows, std::int64_t heads, std::int64_t head_dim, const std::int64_t* positions,
                const RopeTable& table);

}  // namespace awq::ops
