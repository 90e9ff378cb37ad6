#pragma once

// The loop over groups, blocks and lines that all vector kernels for packed weights share. Each instruction-set file
// instantiates it with a class of its own from an unnamed namespace, so that no two files share an instance.

#include <cstddef>
#include <cstdint>

#include "kernels/api/packed.h"

namespace awq::kernels {

/// One panel of activations and where its outputs go.
struct PackedPanel {
  const std::int8_t* codes = nullptr;
  const float* scales = nullptr;
  const float* minus_sums = nullptr;
  std::int64_t first_row = 0;
  /// The weights that the tiles behind this one will read, and how far to go on in them after every line of codes.
  /// While several rows are computed they are asked for into the second-level cache, where a processor's own
  /// prefetchers do not run far enough ahead of reads that products hold up. The panels of a call take a part each.
  const std::uint8_t* coming = nullptr;
  std::int64_t coming_step = 0;
};

/// Computes kRows rows times kVecs vectors of V::kWidth outputs. The vectors start at output `first`, a multiple of 16;
/// their blocks lie `block_step` blocks apart.
///
/// V provides kWidth; Floats and Ints (kWidth numbers each); Line<bits>, the codes of kWidth outputs in one line, with
/// kSteps groups of four inputs; Dots<bits>, sums of up to kUnitsOfDots units, which may be narrower than Ints:
/// no_dots() makes them, dot() adds one step, sum() gives them as Ints.
template <class V, int kBits, int kPlanes, int kRows, int kVecs, bool kComing>
inline void packed_tile(const PackedArgs& args, const PackedPanel& panel, std::int64_t first, std::int64_t block_step) {
  constexpr int kPerBlock = static_cast<int>(kBlockOutputs) / V::kWidth;
  constexpr int kLines = kBits == 4 ? 4 : 8;  // of a unit
  constexpr std::int64_t kGroupsAhead = 4;
  constexpr int kSecondLevel = 2;
  using Line = typename V::template Line<kBits>;
  using Dots = typename V::template Dots<kBits>;
  const PackedLayout& layout = args.layout;
  const std::int64_t code_bytes = layout.code_bytes();
  const std::int64_t scale_step = block_step * layout.scale_bytes();
  const std::int64_t zero_step = block_step * layout.zero_bytes();
  const std::uint8_t* base = args.weight + layout.codes_at(first / kBlockOutputs);
  const std::uint8_t* scales = args.weight + layout.scales_at(first / kBlockOutputs);
  const std::uint8_t* zeros = args.weight + layout.zeros_at(first / kBlockOutputs);
  const std::int64_t groups = layout.groups();
  const std::int64_t blocks_of_group = layout.padded_group() / args.x.scale_inputs();
  // Known where a block is one unit.
  const std::int64_t units_of_block = kPlanes == 1 ? 1 : args.x.scale_inputs() / kUnitInputs;
  constexpr bool kSumUnits = kPlanes > 1 && V::kUnitsOfDots == 1;
  // Neighbouring blocks are done together; blocks that lie apart go on where they end.
  const std::int64_t others = block_step == 1 ? kVecs / kPerBlock - 1 : 0;
  const std::int64_t next_blocks = others * code_bytes;
  const std::int64_t step_bytes = block_step * code_bytes;
  const std::uint8_t* stream[kVecs];
  for (int v = 0; v < kVecs; ++v) stream[v] = base + (v / kPerBlock) * step_bytes + (v % kPerBlock) * V::kWidth * 4;
  const std::int8_t* codes = panel.codes;
  const float* x_scales = panel.scales;
  const std::uint8_t* coming = panel.coming;

  typename V::Floats total[kRows][kVecs];
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVecs; ++v) total[r][v] = V::zero();
  }
  std::int64_t offset = 0;
  for (std::int64_t g = 0; g < groups; ++g) {
    typename V::Floats t[kRows][kVecs];
    // Scales and zero points are read too slowly for a stream of reads to announce them.
    const std::int64_t later = g + kGroupsAhead + (g + kGroupsAhead < groups ? 0 : others * groups);
    for (int v = 0; v < kVecs; v += kPerBlock) {
      __builtin_prefetch(scales + (v / kPerBlock) * scale_step + later * kBlockOutputs * layout.scale_size());
      __builtin_prefetch(zeros + (v / kPerBlock) * zero_step + later * kBlockOutputs);
    }
    for (int v = 0; v < kVecs; ++v) {
      const std::uint8_t* block = zeros + (v / kPerBlock) * zero_step;
      const auto zero = V::from_bytes(block + g * kBlockOutputs + (v % kPerBlock) * V::kWidth);
      for (int r = 0; r < kRows; ++r) t[r][v] = V::multiply(zero, panel.minus_sums[g * kRows + r]);
    }
    for (std::int64_t b = 0; b < blocks_of_group; ++b) {
      Dots dots[kPlanes][kRows][kVecs];
      typename V::Ints sum[kPlanes][kRows][kVecs];
      for (int p = 0; p < kPlanes; ++p) {
        for (int r = 0; r < kRows; ++r) {
          for (int v = 0; v < kVecs; ++v) {
            dots[p][r][v] = V::template no_dots<kBits>();
            if constexpr (kSumUnits) sum[p][r][v] = V::zero_ints();
          }
        }
      }
      for (std::int64_t u = 0; u < units_of_block; ++u) {
        // Past the end of its block a stream goes on in the block after those of the other streams.
        const std::int64_t ahead = V::kPrefetch + (offset + V::kPrefetch < code_bytes ? 0 : next_blocks);
#pragma GCC unroll 8
        for (int line = 0; line < kLines; ++line) {
          Line w[kVecs];
#pragma GCC unroll 8
          for (int v = 0; v < kVecs; ++v) {
            const std::uint8_t* at = stream[v] + offset + line * 64;
            if (v % kPerBlock == 0) {
              __builtin_prefetch(at + ahead);
              if (kComing) __builtin_prefetch(coming + v / kPerBlock * code_bytes, 0, kSecondLevel);
            }
            w[v] = V::template decode<kBits>(at);
          }
          coming += panel.coming_step;
#pragma GCC unroll 2
          for (int step = 0; step < Line::kSteps; ++step) {
#pragma GCC unroll 2
            for (int p = 0; p < kPlanes; ++p) {
#pragma GCC unroll 16
              for (int r = 0; r < kRows; ++r) {
                const auto x = V::broadcast(codes + ((p * 8 + line * Line::kSteps + step) * kRows + r) * 4);
#pragma GCC unroll 8
                for (int v = 0; v < kVecs; ++v) V::template dot<kBits>(dots[p][r][v], w[v], step, x);
              }
            }
          }
        }
        if constexpr (kSumUnits) {
          for (int p = 0; p < kPlanes; ++p) {
            for (int r = 0; r < kRows; ++r) {
              for (int v = 0; v < kVecs; ++v) {
                sum[p][r][v] = V::add32(sum[p][r][v], V::template sum<kBits>(dots[p][r][v]));
                dots[p][r][v] = V::template no_dots<kBits>();
              }
            }
          }
        }
        offset += kLines * 64;
        codes += kPlanes * kUnitInputs * kRows;
      }
      if constexpr (!kSumUnits) {
        for (int p = 0; p < kPlanes; ++p) {
          for (int r = 0; r < kRows; ++r) {
            for (int v = 0; v < kVecs; ++v) sum[p][r][v] = V::template sum<kBits>(dots[p][r][v]);
          }
        }
      }
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < kVecs; ++v) {
          const auto whole = kPlanes == 2 ? V::join(sum[0][r][v], sum[kPlanes - 1][r][v]) : sum[0][r][v];
          t[r][v] = V::multiply_add(V::to_floats(whole), x_scales[r], t[r][v]);
        }
      }
      x_scales += kRows;
    }
    for (int v = 0; v < kVecs; ++v) {
      const std::uint8_t* block = scales + (v / kPerBlock) * scale_step;
      const std::int64_t at = g * kBlockOutputs + (v % kPerBlock) * V::kWidth;
      const auto scale = layout.half_scales ? V::from_halves(block + at * 2) : V::from_floats(block + at * 4);
      for (int r = 0; r < kRows; ++r) total[r][v] = V::multiply_add(t[r][v], scale, total[r][v]);
    }
  }
  for (int v = 0; v < kVecs; ++v) {
    const std::int64_t output = first + (v / kPerBlock * block_step) * kBlockOutputs + (v % kPerBlock) * V::kWidth;
    const std::int64_t count = layout.n - output < V::kWidth ? layout.n - output : V::kWidth;
    for (int r = 0; r < kRows; ++r) {
      float* y = args.y + (panel.first_row + r) * layout.n + output;
      if (count == V::kWidth) {
        V::store(args.bias != nullptr ? V::add(total[r][v], V::from_floats(args.bias + output)) : total[r][v], y);
        continue;
      }
      float values[V::kWidth];
      V::store(total[r][v], values);
      for (std::int64_t i = 0; i < count; ++i) {
        y[i] = args.bias != nullptr ? values[i] + args.bias[output + i] : values[i];
      }
    }
  }
}

/// A tile of kVecs vectors, one block at a time when kRows is more than kWide: then one block fills the registers.
template <class V, int kBits, int kPlanes, int kRows, int kVecs, int kWide>
inline void packed_tile_of_rows(const PackedArgs& args, const PackedPanel& panel, std::int64_t first) {
  constexpr int kPerBlock = static_cast<int>(kBlockOutputs) / V::kWidth;
  if constexpr (kRows <= kWide) {
    packed_tile<V, kBits, kPlanes, kRows, kVecs, true>(args, panel, first, 1);
  } else {
    PackedPanel of_block = panel;
    for (int v = 0; v < kVecs; v += kPerBlock) {
      packed_tile<V, kBits, kPlanes, kRows, kPerBlock, true>(args, of_block, first + v * V::kWidth, 1);
      of_block.coming += args.layout.code_bytes();
    }
  }
}

/// All panels for the tile at `first`, each with the function for its number of rows; weights stay in the cache.
template <class V, int kBits, int kPlanes, int kVecs, int kWide, int kMaxRows>
inline void packed_panels(const PackedArgs& args, std::int64_t first, std::int64_t panel_begin,
                          std::int64_t panel_end) {
  static_assert(kMaxRows <= 8);
  constexpr auto at_most = [](int rows) { return rows < kMaxRows ? rows : kMaxRows; };
  using Tile = void (*)(const PackedArgs&, const PackedPanel&, std::int64_t);
  static constexpr Tile kTiles[] = {packed_tile_of_rows<V, kBits, kPlanes, 1, kVecs, kWide>,
                                    packed_tile_of_rows<V, kBits, kPlanes, at_most(2), kVecs, kWide>,
                                    packed_tile_of_rows<V, kBits, kPlanes, at_most(3), kVecs, kWide>,
                                    packed_tile_of_rows<V, kBits, kPlanes, at_most(4), kVecs, kWide>,
                                    packed_tile_of_rows<V, kBits, kPlanes, at_most(5), kVecs, kWide>,
                                    packed_tile_of_rows<V, kBits, kPlanes, at_most(6), kVecs, kWide>,
                                    packed_tile_of_rows<V, kBits, kPlanes, at_most(7), kVecs, kWide>,
                                    packed_tile_of_rows<V, kBits, kPlanes, at_most(8), kVecs, kWide>};
  const Activations& x = args.x;
  const std::int64_t padded_k = x.padded_k();
  const std::int64_t panels = panel_end - panel_begin;
  constexpr std::int64_t kBlocks = kVecs * V::kWidth / kBlockOutputs;
  const std::int64_t block = first / kBlockOutputs;
  // Behind the last tile there is nothing to come: its own weights again.
  const bool last = block + 2 * kBlocks > args.layout.blocks();
  const std::uint8_t* coming = args.weight + args.layout.codes_at(last ? block : block + kBlocks);
  for (std::int64_t p = panel_begin; p < panel_end; ++p) {
    const std::int64_t row = x.panel_begin(p);
    const PackedPanel panel{.codes = x.codes + row * x.planes * padded_k,
                            .scales = x.scales + row * x.scale_blocks(),
                            .minus_sums = x.minus_sums + row * x.groups(),
                            .first_row = row,
                            .coming = coming + (p - panel_begin) * args.layout.code_bytes() / panels,
                            .coming_step = 64 / panels};
    kTiles[x.panel_begin(p + 1) - row - 1](args, panel, first);
  }
}

/// kMany vectors at a time while a panel has at most kWide rows, and what is left one block at a time. Up to
/// V::stream_rows(kBits) rows take kStreams vectors, whose blocks lie apart, so that each reads one run of memory from
/// its first block to its last, which a processor's prefetchers follow. V::kPrefetch is the distance in bytes for each.
template <class V, int kBits, int kPlanes, int kStreams, int kMany, int kWide, int kMaxRows>
inline void packed_run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end,
                       std::int64_t panel_begin, std::int64_t panel_end) noexcept {
  constexpr int kPerBlock = static_cast<int>(kBlockOutputs) / V::kWidth;
  constexpr std::int64_t kStreamBlocks = kStreams / kPerBlock;
  constexpr std::int64_t kManyBlocks = kMany / kPerBlock;
  std::int64_t block = block_begin;
  if (panel_begin < panel_end && args.x.panels() == 1 && args.x.m <= V::stream_rows(kBits)) {
    constexpr auto at_most = [](int rows) { return rows < V::stream_rows(kBits) ? rows : V::stream_rows(kBits); };
    using Tile = void (*)(const PackedArgs&, const PackedPanel&, std::int64_t, std::int64_t);
    static_assert(V::stream_rows(kBits) <= 4);
    static constexpr Tile kTiles[] = {packed_tile<V, kBits, kPlanes, 1, kStreams, false>,
                                      packed_tile<V, kBits, kPlanes, at_most(2), kStreams, false>,
                                      packed_tile<V, kBits, kPlanes, at_most(3), kStreams, false>,
                                      packed_tile<V, kBits, kPlanes, at_most(4), kStreams, false>};
    const PackedPanel panel{.codes = args.x.codes, .scales = args.x.scales, .minus_sums = args.x.minus_sums};
    const std::int64_t each = (block_end - block_begin) / kStreamBlocks;
    for (; block < block_begin + each; ++block) kTiles[args.x.m - 1](args, panel, block * kBlockOutputs, each);
    block = block_begin + each * kStreamBlocks;
  }
  for (; block + kManyBlocks <= block_end; block += kManyBlocks) {
    packed_panels<V, kBits, kPlanes, kMany, kWide, kMaxRows>(args, block * kBlockOutputs, panel_begin, panel_end);
  }
  for (; block < block_end; ++block) {
    packed_panels<V, kBits, kPlanes, kPerBlock, kMaxRows, kMaxRows>(args, block * kBlockOutputs, panel_begin,
                                                                    panel_end);
  }
}

}  // namespace awq::kernels
