// How the blocks of a chain share its linears: every leaf of every tile once, and a launch that fits.

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <tuple>
#include <vector>

#include "kernels/cuda/w4_chain.h"

namespace awq::kernels::cuda {
namespace {

constexpr int kShared = 232448;  ///< of a block of compute capability 9.0

/// As the launch fills it in, with the leaves given instead of following from the steps.
ChainLink link_of(ChainOutput output, std::int32_t n, std::int32_t steps, int leaves_log2, int blocks) {
  ChainLink link;
  link.output = output;
  link.n = n;
  link.k = steps * 128;
  link.steps = steps;
  link.leaves_log2 = leaves_log2;
  link.deal(blocks);
  return link;
}

void check_link(const ChainLink& link, int blocks) {
  SCOPED_TRACE(testing::Message() << link.n << " rows" << (link.pairs() ? " in pairs, " : ", ") << link.steps
                                  << " steps, " << (1 << link.leaves_log2) << " leaves, " << blocks << " blocks");
  const std::int32_t tiles = (link.n + 15) / 16;
  const std::int32_t leaves = 1 << link.leaves_log2;
  std::vector<int> taken(static_cast<std::size_t>(tiles) * leaves, 0);
  const std::int32_t most = ChainShare(link, 0).units;
  std::int32_t next = 0;  // piece
  for (int block = 0; block < blocks; ++block) {
    const ChainShare share(link, block);
    ASSERT_EQ(share.first, next);
    ASSERT_LE(share.units, most) << "the first block has no more than the others";
    ASSERT_GE(share.units, most - (leaves << (link.pairs() ? 1 : 0)));
    next += link.pairs() ? share.tiles / 2 : share.tiles;
    ASSERT_EQ(share.units, share.tiles * leaves);
    for (std::int32_t unit = 0; unit < share.units; ++unit) {
      const std::int32_t tile = share.tile(link, unit >> link.leaves_log2);
      ASSERT_GE(tile, 0);
      ASSERT_LT(tile, tiles);
      ++taken[static_cast<std::size_t>(tile) * leaves + (unit & (leaves - 1))];
    }
    if (!link.pairs()) continue;
    for (std::int32_t local = 0; local < share.tiles; local += 2) {  // a gate and its up
      ASSERT_EQ(share.tile(link, local), share.first + local / 2);
      ASSERT_EQ(share.tile(link, local + 1), share.tile(link, local) + link.pieces);
    }
  }
  ASSERT_EQ(next, link.pieces);
  ASSERT_TRUE(std::all_of(taken.begin(), taken.end(), [](int times) { return times == 1; }));
}

TEST(W4Chain, EveryLeafOfEveryTileIsSomeBlocksOnce) {
  std::mt19937 random(1);
  const auto below = [&](std::uint32_t n) { return static_cast<std::int32_t>(random() % n); };
  for (int i = 0; i < 3000; ++i) {
    const bool pairs = below(2) == 1;
    const std::int32_t n = pairs ? 32 * (1 + below(300)) : 1 + below(9000);  // pairs: of whole tiles
    const int blocks = 1 + below(200);
    const int leaves_log2 = below(4);
    const ChainOutput output = pairs           ? ChainOutput::kSiluProduct
                               : below(2) == 1 ? ChainOutput::kAddToHidden
                                               : ChainOutput::kHalves;
    ASSERT_NO_FATAL_FAILURE(
        check_link(link_of(output, n, (1 << leaves_log2) + below(256), leaves_log2, blocks), blocks));
  }
}

TEST(W4Chain, LeavesBeginWhereThoseOfTheOtherKernelsDo) {
  for (std::int32_t steps = 1; steps <= 512; ++steps) {
    const int leaves = w4_leaves(steps * 128);
    int leaves_log2 = 0;
    while (1 << leaves_log2 < leaves) ++leaves_log2;
    ASSERT_EQ(1 << leaves_log2, leaves) << steps << " steps";
    const ChainLink link = link_of(ChainOutput::kHalves, 128, steps, leaves_log2, 132);
    for (int leaf = 0; leaf <= leaves; ++leaf) {
      ASSERT_EQ(link.leaf_begin(leaf), w4_leaf_begin(leaf, steps, leaves)) << steps << " steps, leaf " << leaf;
    }
    ASSERT_EQ(link.leaf_begin(0), 0);
    ASSERT_EQ(link.leaf_begin(leaves), steps);
  }
}

TEST(W4Chain, ALaunchTakesAsManyWarpsAsFitAndThenTheDeeperRing) {
  std::mt19937 random(2);
  const auto below = [&](std::uint32_t n) { return static_cast<std::int64_t>(random() % n); };
  int without = 0;
  for (int i = 0; i < 20000; ++i) {
    const ChainNeeds needs = {
        .groups = 1 << below(3), .m = 1 + below(8), .most_steps = 1 + below(256), .most_units = 1 + below(256)};
    const int shared_bytes = below(2) == 1 ? kShared : 65536 + static_cast<int>(below(kShared - 65536));
    SCOPED_TRACE(testing::Message() << needs.groups << " groups, " << needs.m << " tokens, " << needs.most_steps
                                    << " steps, " << needs.most_units << " units, " << shared_bytes << " bytes");
    const auto fits = [&](int warps, int depth) {
      return chain_shared_bytes(needs, {.warps = warps, .depth = depth}) <= shared_bytes;
    };
    const ChainShape shape = chain_shape(needs, shared_bytes);
    for (int warps = std::max(8, shape.warps + 4); warps <= kChainMostWarps; warps += 4) {
      ASSERT_FALSE(fits(warps, 6) || fits(warps, 4)) << warps << " warps";
    }
    if (shape.warps == 0) {
      ++without;
      continue;
    }
    ASSERT_EQ(shape.warps % 4, 0);
    ASSERT_GE(shape.warps, 8);
    ASSERT_LE(shape.warps, kChainMostWarps);
    ASSERT_TRUE(fits(shape.warps, shape.depth));
    ASSERT_EQ(shape.depth, fits(shape.warps, 6) ? 6 : 4);
    // Whatever the number of warps, all of the block's units and the tokens have a place beside the rings.
    ASSERT_GE(shared_bytes - shape.warps * small_ring_bytes(needs.groups, shape.depth),
              chain_token_bytes(needs) + needs.most_units * 16 * needs.m * 4);
  }
  EXPECT_GT(without, 0);
  EXPECT_LT(without, 15000);
}

TEST(W4Chain, TheLayersOfLlama3FitWithOneToken) {
  for (const auto& [hidden, inner, qkv] : {std::tuple{4096, 14336, 6144}, {8192, 28672, 10240}}) {
    ChainNeeds needs;
    for (const ChainLink& link :
         {link_of(ChainOutput::kAddToHidden, hidden, hidden / 128, hidden >= 6144 ? 3 : 2, 132),
          link_of(ChainOutput::kSiluProduct, 2 * inner, hidden / 128, hidden >= 6144 ? 3 : 2, 132),
          link_of(ChainOutput::kAddToHidden, hidden, inner / 128, 3, 132),
          link_of(ChainOutput::kHalves, qkv, hidden / 128, hidden >= 6144 ? 3 : 2, 132)}) {
      needs.most_steps = std::max<std::int64_t>(needs.most_steps, link.steps);
      needs.most_units = std::max<std::int64_t>(needs.most_units, ChainShare(link, 0).units);
    }
    EXPECT_GE(chain_shape(needs, kShared).warps, 20) << hidden;
  }
}

}  // namespace
}  // namespace awq::kernels::cuda
