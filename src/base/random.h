#pragma once

#include <cstdint>

namespace awq {

/// SplitMix64 (Steele, Lea, Flood 2014) as a pure function of its counter: streams that need no state and give the
/// same numbers whatever was drawn before.
constexpr std::uint64_t mix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

/// Number `counter` of stream `seed`.
constexpr std::uint64_t random_bits(std::uint64_t seed, std::uint64_t counter) { return mix64(mix64(seed) + counter); }

/// Uniform in [0, 1).
constexpr double uniform(std::uint64_t seed, std::uint64_t counter) {
  return static_cast<double>(random_bits(seed, counter) >> 11) * 0x1p-53;
}

}  // namespace awq
