#pragma once

// The loop that all vector kernels for packed weights and binary32 activations share; instantiated like packed_tile.h.

#include <cstdint>

#include "kernels/api/packed.h"

namespace awq::kernels {

/// kRows rows times one block of sixteen outputs. V provides kWidth, Floats, Words (kWidth 32-bit words of a line) and
/// code(words, shift, mask), the code at that bit as a float.
template <class V, int kBits, int kRows>
inline void packed_float_tile(const PackedFloatArgs& args, std::int64_t block) {
  constexpr int kVecs = static_cast<int>(kBlockOutputs) / V::kWidth;
  constexpr int kInputs = kBits == 4 ? 8 : 4;  // of a line
  const PackedLayout& layout = args.layout;
  const std::uint8_t* codes = args.weight + layout.codes_at(block);
  const std::uint8_t* scales = args.weight + layout.scales_at(block);
  const std::uint8_t* zeros = args.weight + layout.zeros_at(block);
  const std::int64_t groups = layout.groups();
  typename V::Floats total[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) total[r][v] = V::zero();
  }
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::uint8_t* line = codes + g * layout.group_bytes();
    const float* x = args.x + g * layout.group_size;
    typename V::Floats dot[kRows][kVecs];
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVecs; ++v) dot[r][v] = V::zero();
    }
    std::int64_t left = layout.group_size;
    for (; left >= kInputs; left -= kInputs, line += 64, x += kInputs) {
      __builtin_prefetch(line + 2048);
      for (int v = 0; v < kVecs; ++v) {
        const auto words = V::load_words(line + v * V::kWidth * 4);
#pragma GCC unroll 8
        for (int t = 0; t < kInputs; ++t) {
          const auto w = V::template code<kBits>(words, t * kBits);
          const int input = kBits == 4 ? t / 2 + t % 2 * 4 : t;
          for (int r = 0; r < kRows; ++r) dot[r][v] = V::multiply_add(w, x[r * layout.k + input], dot[r][v]);
        }
      }
    }
    for (int input = 0; input < left; ++input) {  // a group that ends inside a line
      const int shift = kBits == 4 ? input % 4 * 8 + input / 4 * 4 : input * 8;
      for (int v = 0; v < kVecs; ++v) {
        const auto w = V::template code<kBits>(V::load_words(line + v * V::kWidth * 4), shift);
        for (int r = 0; r < kRows; ++r) dot[r][v] = V::multiply_add(w, x[r * layout.k + input], dot[r][v]);
      }
    }
    for (int v = 0; v < kVecs; ++v) {
      const std::int64_t at = g * kBlockOutputs + v * V::kWidth;
      const auto zero = V::from_bytes(zeros + at);
      const auto scale = layout.half_scales ? V::from_halves(scales + at * 2) : V::from_floats(scales + at * 4);
      for (int r = 0; r < kRows; ++r) {
        const auto t = V::multiply_add(zero, -args.x_group_sums[r * groups + g], dot[r][v]);
        total[r][v] = V::multiply_add(t, scale, total[r][v]);
      }
    }
  }
  float out[kBlockOutputs];
  const std::int64_t first = block * kBlockOutputs;
  const std::int64_t count = layout.n - first < kBlockOutputs ? layout.n - first : kBlockOutputs;
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) V::store(total[r][v], out + v * V::kWidth);
    float* y = args.y + r * layout.n + first;
    for (std::int64_t i = 0; i < count; ++i) y[i] = args.bias != nullptr ? out[i] + args.bias[first + i] : out[i];
  }
}

template <class V, int kBits>
inline void packed_float_run(const PackedFloatArgs& args, std::int64_t block_begin, std::int64_t block_end) noexcept {
  using Tile = void (*)(const PackedFloatArgs&, std::int64_t);
  static constexpr Tile kTiles[kMaxPackedFloatRows] = {packed_float_tile<V, kBits, 1>, packed_float_tile<V, kBits, 2>,
                                                       packed_float_tile<V, kBits, 3>, packed_float_tile<V, kBits, 4>,
                                                       packed_float_tile<V, kBits, 5>, packed_float_tile<V, kBits, 6>,
                                                       packed_float_tile<V, kBits, 7>, packed_float_tile<V, kBits, 8>};
  for (std::int64_t block = block_begin; block < block_end; ++block) kTiles[args.m - 1](args, block);
}

}  // namespace awq::kernels
