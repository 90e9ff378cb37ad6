#include "kernels/cuda/w4_choose.h"

#include <initializer_list>

#include "kernels/cuda/w4_stream.h"

namespace awq::kernels::cuda {
namespace {

constexpr int kStripes = 1;  ///< blocks per tile

/// Blocks that share a tile of the wide form (256 rows): as many as there are leaves and multiprocessors for.
int blocks_of_tile(std::int64_t tiles, int leaves, std::int64_t most_blocks) {
  int blocks = 1;
  while (blocks * 2 <= leaves && tiles * blocks * 2 <= most_blocks) blocks *= 2;
  return blocks;
}

/// Blocks that share a tile of 192 rows and 128 tokens: 3 or 4 where they keep 72 % of the multiprocessors busy, else
/// 1. Three of them have unequal parts of the leaves.
int blocks_of_many_tile(std::int64_t n, std::int64_t m, int leaves, std::int64_t all) {
  const std::int64_t tiles = (n + 191) / 192 * ((m + 127) / 128);
  for (const int blocks : {4, 3}) {
    if (blocks > leaves || tiles * blocks > all) continue;
    const int most = (leaves + blocks - 1) / blocks;  // leaves of a block
    return tiles * leaves * 100 >= 72 * all * most ? blocks : 1;
  }
  return 1;
}

/// Up to 64 tokens, which small kernels do not take.
W4Choice choice_of_few(std::int64_t row_tiles, std::int64_t m, int leaves, std::int64_t all) {
  const int tokens = m <= 16 ? 16 : m <= 32 ? 32 : 64;
  const std::int64_t tiles = (row_tiles + 1) / 2;
  const int blocks = blocks_of_tile(tiles, leaves, all);
  const bool shared = blocks > 1 && (blocks == leaves || tiles * blocks * 100 >= 70 * all);
  if (m <= 32 || shared) return {W4Kind::kWide, tokens, blocks};
  return {W4Kind::kWgmma, 64, kStripes};
}

/// Tokens whose product of 16-bit matrices takes as long as the expansion of the weight: 2.52 bytes per weight at the
/// speed of a copy against two operations per weight and token.
constexpr std::int64_t panel_tokens(int capability) {
  if (capability == 90) return 225;
  return capability >= 100 && capability < 120 ? 300 : 200;
}
/// Rate of the table's kernels for many tokens, percent of that of 16-bit matrices; on Hopper as measured.
constexpr std::int64_t kernel_percent(const W4Layout& layout, int capability) {
  constexpr std::int64_t kWide = 80'000'000;
  return capability == 90 ? (layout.n * layout.k >= kWide ? 88 : 82) : 75;
}

}  // namespace

bool panel_pays(const W4Layout& layout, std::int64_t m, int capability) {
  // In units of the time that 16-bit matrices take for a token: m + panel_tokens < m / (percent / 100).
  const std::int64_t percent = kernel_percent(layout, capability);
  return m * (100 - percent) > panel_tokens(capability) * percent;
}

W4Choice hopper_choice(const W4Layout& layout, std::int64_t m, int multiprocessors, bool small_fits) {
  const std::int64_t row_tiles = layout.strips();
  const int leaves = w4_leaves(layout.k);
  const std::int64_t all = multiprocessors;
  // Loading more than four tokens of a long row into every block takes longer than streaming them with the weights.
  if (m <= 8 && small_fits && (m <= 4 || layout.k < 8192)) return {W4Kind::kSmall, 0, 1};
  constexpr std::int64_t kNarrow = 70'000'000;
  if (m <= 8 && layout.n * layout.k < kNarrow) return {W4Kind::kMma, 8, 1};
  if (m <= 64) return choice_of_few(row_tiles, m, leaves, all);
  if (m <= 256) {
    const int blocks_of_many = blocks_of_many_tile(layout.n, m, leaves, all);
    if (blocks_of_many > 1 && (m <= 128 || leaves == 8)) return {W4Kind::kMany, 128, blocks_of_many};
    const std::int64_t tiles = (row_tiles + 1) / 2 * ((m + 63) / 64);
    const int blocks = blocks_of_tile(tiles, leaves, all);
    const bool busy = m <= 128 && tiles * blocks * 100 >= 80 * all;
    if (blocks > 1 && (blocks == leaves || busy)) return {W4Kind::kWide, 64, blocks};
    const std::int64_t wide = m <= 128 ? all : all / 4;  // strips of layers that 64 tokens a tile would be too few for
    if (row_tiles <= wide) return {W4Kind::kWgmma, 64, kStripes};
    if (m <= 128) return {W4Kind::kWgmma, 128, kStripes};
  }
  // Few tiles, above all of short rows, keep blocks waiting for what others hand on. Pairs have half as many workers,
  // and copy their tokens once; with many tiles they are slower.
  const std::int64_t tiles = row_tiles * ((m + 127) / 128);
  const bool pairs = layout.k >= 8192 ? 2 * tiles <= 3 * all : tiles <= 4 * all;
  return {pairs ? W4Kind::kWgmmaPairs : W4Kind::kWgmma, 128, kStripes};
}

}  // namespace awq::kernels::cuda
