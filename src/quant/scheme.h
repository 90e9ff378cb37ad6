#pragma once

#include <cstdint>

namespace awq::quant {

/// What a code stands for.
enum class CodeKind : std::uint8_t {
  kInteger,  ///< weight = scale * (code - zero_point)
  kE4M3,     ///< weight = scale * float8(code); eight bits, no zero points
};

/// How the weights of one linear are stored. Groups lie along in_features.
struct Scheme {
  int bits = 4;                   ///< 2..8
  std::int64_t group_size = 128;  ///< -1: one group per row
  bool symmetric = false;         ///< every zero point is 2^(bits-1)
  CodeKind kind = CodeKind::kInteger;
  std::int64_t rows_per_scale = 1;  ///< neighbouring rows whose scales are equal: 128 in square FP8 blocks

  bool operator==(const Scheme&) const = default;
};

/// Number of inputs in one group of a row with `in_features` inputs.
constexpr std::uint64_t resolved_group_size(const Scheme& scheme, std::uint64_t in_features) {
  return scheme.group_size < 0 ? in_features : static_cast<std::uint64_t>(scheme.group_size);
}

}  // namespace awq::quant
