#include "kernels/cuda/w4_choose.h"

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
  if (m <= 8 && small_fits && (m <= 4 || layout.k < 8192)) return {W4Kind::kSmall, 0, 1};
  constexpr std::int64_t kNarrow = 70'000'000;
  if (m <= 8 && layout.n * layout.k < kNarrow) return {W4Kind::kMma, 8, 1};
  if (m <= 256) {
    const int tokens = m <= 16 ? 16 : m <= 32 ? 32 : 64;
    const std::int64_t tiles = (row_tiles + 1) / 2 * ((m + tokens - 1) / tokens);
    const int blocks = blocks_of_tile(tiles, leaves, all);
    // Of more tokens other forms are faster, but where few of their tiles would keep multiprocessors waiting for each
    // other.
    const std::int64_t busy = tiles * blocks * 100 / all;
    const bool shared = blocks > 1 && (blocks == leaves || busy >= (m <= 64 ? 70 : 80));
    if (m <= 32 || shared) return {W4Kind::kWide, tokens, blocks};
  }
  if (m <= 64) return {W4Kind::kWgmma, 64, kStripes};
  // Tiles of 128 tokens, where there are enough of them that few are shared.
  if (m <= 128) return {W4Kind::kWgmma, row_tiles <= all ? 64 : 128, kStripes};
  if (m <= 256 && row_tiles * 4 <= all) return {W4Kind::kWgmma, 64, kStripes};
  // Pairs of blocks copy their tokens once: it pays when there are many tiles.
  const std::int64_t tiles = row_tiles * ((m + 127) / 128);
  const bool pairs = tiles > 4 * all || (layout.k >= 8192 && 2 * tiles > 3 * all);
  return {pairs ? W4Kind::kWgmmaPairs : W4Kind::kWgmma, 128, kStripes};
}

}  // namespace awq::kernels::cuda
