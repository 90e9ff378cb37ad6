#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/random.h"

namespace awq::test {

/// `count` numbers uniform in [-1, 1) * `size`.
inline std::vector<float> random_floats(std::uint64_t seed, std::size_t count, double size = 1) {
  std::vector<float> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>((uniform(seed, i) * 2 - 1) * size);
  return out;
}

/// The group of each of `width` inputs when groups of `size` are dealt out at random.
inline std::vector<std::int32_t> shuffled_groups(std::uint64_t seed, std::size_t width, std::size_t size) {
  std::vector<std::int32_t> out(width);
  for (std::size_t k = 0; k < width; ++k) out[k] = static_cast<std::int32_t>(k / size);
  for (std::size_t k = width; k > 1; --k) std::swap(out[k - 1], out[random_bits(seed, k) % k]);
  return out;
}

template <typename T>
AlignedBuffer<T> to_buffer(const std::vector<T>& values) {
  AlignedBuffer<T> out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = values[i];
  return out;
}

}  // namespace awq::test
