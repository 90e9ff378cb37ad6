#pragma once

#include <array>
#include <cstdint>

namespace awq::gpu {

/// Sequences that a decode step is recorded for; a step of fewer runs padded.
inline constexpr std::array<std::int64_t, 14> kSequenceBuckets = {1,  2,  4,  8,  12,  16,  24,
                                                                  32, 48, 64, 96, 128, 192, 256};

/// The smallest bucket that holds `sequences`; 0 when none does.
constexpr std::int64_t sequence_bucket(std::int64_t sequences) {
  for (const std::int64_t bucket : kSequenceBuckets) {
    if (bucket >= sequences) return bucket;
  }
  return 0;
}

/// Bound on the length of a sequence that a step is recorded for: the next power of two, at least 256.
constexpr std::int64_t length_bucket(std::int64_t length) {
  std::int64_t bucket = 256;
  while (bucket < length) bucket *= 2;
  return bucket;
}

}  // namespace awq::gpu
