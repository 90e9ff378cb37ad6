#include "kernels/cuda/w4_choose.h"

#include "kernels/cuda/w4_stream.h"

namespace awq::kernels::cuda {
namespace {

constexpr int kStripes = 1;  ///< blocks per tile

/// Blocks that share a tile of few tokens: as many as keep the grid within about one block per multiprocessor, and at
/// least so many that each holds no more leaves than its memory has room for.
int blocks_of_tile(std::int64_t row_tiles, int leaves, int most_leaves, std::int64_t most_blocks) {
  if (row_tiles * 2 > most_blocks) return kStripes;
  int blocks = 2;
  while (blocks * 2 <= leaves && row_tiles * blocks * 2 <= most_blocks) blocks *= 2;
  while (blocks < leaves && leaves / blocks > most_leaves) blocks *= 2;
  return blocks > leaves ? kStripes : blocks;
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
  return capability == 90 ? (layout.n * layout.k >= kWide ? 86 : 74) : 75;
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
  if (m <= 8 && small_fits && (m <= 4 || layout.k <= 8192)) return {W4Kind::kSmall, 0, 1};
  if (m <= 8 && layout.k > 8192) return {W4Kind::kMma, 8, 1};
  if (m <= 32) {
    const int tokens = m <= 8 ? 8 : m <= 16 ? 16 : 32;
    const int blocks = blocks_of_tile(row_tiles, leaves, tokens == 32 ? 2 : 4, all + all / 4);
    // Clusters that would need every multiprocessor do not all run at once.
    const bool full = blocks > 1 && row_tiles * blocks > all - all / 16;
    if (full && (m > 16 || (m > 8 && layout.k >= 14336))) return {W4Kind::kMma, tokens, 1};
    return {W4Kind::kWgmma, tokens, blocks};
  }
  if (m <= 64) {
    if (row_tiles * 4 <= all && leaves >= 4) {
      if (row_tiles * 4 <= all - all / 16) return {W4Kind::kWgmma, 64, 4};
      return {W4Kind::kWgmma, leaves == 4 ? 32 : 64, 2};
    }
    return {W4Kind::kWgmma, 64, row_tiles * 2 <= all && leaves >= 2 ? 2 : kStripes};
  }
  if (m <= 128) {
    if (row_tiles * 4 <= all && leaves >= 2) return {W4Kind::kWgmma, 64, 2};
    return {W4Kind::kWgmma, row_tiles * 2 <= all ? 64 : 128, kStripes};
  }
  if (m <= 256 && row_tiles * 4 <= all) return {W4Kind::kWgmma, 64, kStripes};
  // Pairs of blocks copy their tokens once: it pays when there are many tiles.
  const std::int64_t tiles = row_tiles * ((m + 127) / 128);
  const bool pairs = tiles > 4 * all || (layout.k >= 8192 && 2 * tiles > 3 * all);
  return {pairs ? W4Kind::kWgmmaPairs : W4Kind::kWgmma, 128, kStripes};
}

}  // namespace awq::kernels::cuda
