// How the blocks of the Hopper kernel share a product: every part once, and no block waits for what nobody hands on.

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "kernels/cuda/w4_walk.h"

namespace awq::kernels::cuda {
namespace {

/// A worker's parts in its order.
std::vector<std::vector<WgmmaPart>> walk_all(const WgmmaWork& work, std::int32_t workers, std::int32_t rank) {
  std::vector<std::vector<WgmmaPart>> out(static_cast<std::size_t>(workers));
  for (std::int32_t p = 0; p < workers; ++p) {
    WgmmaWalk walk(work, p, workers);
    WgmmaPart part;
    while (walk.next(rank, part)) out[static_cast<std::size_t>(p)].push_back(part);
  }
  return out;
}

std::string name_of(const WgmmaWork& work, std::int32_t workers) {
  return std::to_string(work.columns) + " columns, " + std::to_string(work.token_tiles) + " token tiles, " +
         std::to_string(work.leaves) + " leaves, " + std::to_string(workers) + " workers, " +
         std::to_string(work.striped_tiles) + " tiles in stripes";
}

/// How often each (column, token tile, leaf) is taken.
class Coverage {
 public:
  explicit Coverage(const WgmmaWork& work)
      : work_(work), taken_(static_cast<std::size_t>(work.columns * work.token_tiles * work.leaves), 0) {}
  void add(const WgmmaPart& part) {
    ASSERT_LT(part.column, work_.columns);
    ASSERT_LT(part.token_tile, work_.token_tiles);
    ASSERT_GE(part.leaf_begin, 0);
    ASSERT_LT(part.leaf_begin, part.leaf_end);
    ASSERT_LE(part.leaf_end, work_.leaves);
    for (std::int32_t leaf = part.leaf_begin; leaf < part.leaf_end; ++leaf) {
      ++taken_[static_cast<std::size_t>((part.column * work_.token_tiles + part.token_tile) * work_.leaves + leaf)];
    }
  }
  bool once() const {
    for (const int count : taken_) {
      if (count != 1) return false;
    }
    return true;
  }

 private:
  const WgmmaWork& work_;
  std::vector<int> taken_;
};

void check_stripes(const WgmmaWork& work, std::int32_t workers) {
  SCOPED_TRACE(name_of(work, workers));
  const auto parts = walk_all(work, workers, 0);
  Coverage coverage(work);
  const WgmmaPart* handed_on = nullptr;  // by the worker before
  for (const auto& own : parts) {
    ASSERT_FALSE(own.empty());
    const WgmmaPart* waits_for = nullptr;
    const WgmmaPart* hands_on = nullptr;
    for (const WgmmaPart& part : own) {
      ASSERT_NO_FATAL_FAILURE(coverage.add(part));
      if (part.leaf_begin > 0) {
        ASSERT_EQ(waits_for, nullptr) << "waits for two tiles";
        waits_for = &part;
      }
      if (part.leaf_end < work.leaves) {
        ASSERT_EQ(hands_on, nullptr) << "hands on two tiles, in one place";
        // Handed on before anything that may have to wait, or by what waits itself: so waiting goes from a worker to
        // the one before it only, and the first one never waits.
        ASSERT_TRUE(waits_for == nullptr || waits_for == &part);
        hands_on = &part;
      }
    }
    ASSERT_EQ(waits_for == nullptr, handed_on == nullptr);
    if (waits_for != nullptr) {
      ASSERT_EQ(waits_for->column, handed_on->column);
      ASSERT_EQ(waits_for->token_tile, handed_on->token_tile);
      ASSERT_EQ(waits_for->leaf_begin, handed_on->leaf_end);
    }
    handed_on = hands_on;
  }
  ASSERT_EQ(handed_on, nullptr) << "nobody takes it";
  ASSERT_TRUE(coverage.once());
}

TEST(WgmmaWalk, StripesOfALaunch) {
  for (const WgmmaSharing sharing : {WgmmaSharing::kStripes, WgmmaSharing::kStripesPairs}) {
    for (const std::int32_t columns : {1, 2, 7, 15, 16, 17, 28, 33, 48, 112, 148, 448}) {
      for (const std::int32_t token_tiles : {1, 2, 3, 8, 33}) {
        for (const std::int32_t leaves : {1, 2, 4, 8}) {
          for (const std::int32_t most : {1, 2, 57, 66, 114, 132, 264}) {
            WgmmaWork work{.sharing = sharing, .leaves = leaves, .columns = columns, .token_tiles = token_tiles};
            const std::int32_t workers = wgmma_workers(work, most);
            ASSERT_LE(workers, most);
            ASSERT_NO_FATAL_FAILURE(check_stripes(work, workers));
          }
        }
      }
    }
  }
}

TEST(WgmmaWalk, AnySplitIntoStripesAndWholeTiles) {
  for (std::int32_t columns = 1; columns <= 20; ++columns) {
    for (const std::int32_t leaves : {1, 2, 4, 8}) {
      const std::int32_t tiles = columns * 2;
      for (std::int32_t workers = 1; workers <= tiles * leaves && workers <= 40; ++workers) {
        for (std::int32_t striped = 0; striped <= tiles; ++striped) {
          // Everybody needs something: a unit of the stripes (then nobody is passed over between two that share a
          // tile), or without stripes a tile.
          if (striped > 0 ? striped * leaves < workers : tiles < workers) continue;
          const WgmmaWork work{.leaves = leaves, .columns = columns, .token_tiles = 2, .striped_tiles = striped};
          ASSERT_NO_FATAL_FAILURE(check_stripes(work, workers));
        }
      }
    }
  }
}

TEST(WgmmaWalk, EveryoneHasUnitsWhereThereAreEnough) {
  for (const std::int32_t leaves : {1, 2, 4, 8}) {
    for (std::int32_t tiles = 1; tiles <= 60; ++tiles) {
      for (std::int32_t workers = 1; workers <= tiles * leaves; ++workers) {
        const WgmmaWork work{.leaves = leaves, .columns = tiles, .token_tiles = 1, .striped_tiles = tiles};
        for (const auto& own : walk_all(work, workers, 0)) ASSERT_FALSE(own.empty()) << name_of(work, workers);
      }
    }
  }
}

TEST(WgmmaWalk, TheWideFormSharesNothingWhereWholeTilesTakeNoLonger) {
  for (const std::int32_t columns : {1, 2, 14, 16, 24, 33, 66, 112, 131, 132, 133, 148, 224, 264, 501}) {
    for (const std::int32_t token_tiles : {1, 2, 3}) {
      for (const std::int32_t leaves : {1, 2, 4, 8}) {
        for (const std::int32_t most : {1, 2, 57, 114, 132}) {
          WgmmaWork work{.leaves = leaves, .columns = columns, .token_tiles = token_tiles};
          const std::int32_t workers = wide_workers(work, most);
          ASSERT_LE(workers, most);
          ASSERT_NO_FATAL_FAILURE(check_stripes(work, workers));
          // The busiest has no more than an equal share of all would be, rounded up to leaves, or to a tile at the end.
          const std::int32_t units = columns * token_tiles * leaves;
          std::int32_t longest = 0;
          for (const auto& own : walk_all(work, workers, 0)) {
            std::int32_t sum = 0;
            for (const WgmmaPart& part : own) sum += part.leaf_end - part.leaf_begin;
            longest = std::max(longest, sum);
          }
          ASSERT_EQ(longest, std::max(1, (units + most - 1) / most)) << name_of(work, workers);
        }
      }
    }
  }
  WgmmaWork work{.leaves = 4, .columns = 112, .token_tiles = 1};
  EXPECT_EQ(wide_workers(work, 132), 112);  // 4 leaves each, where 132 would have 3 or 4
  EXPECT_EQ(work.striped_tiles, 0);
}

TEST(WgmmaWalk, BlocksOfATileShareItsLeaves) {
  for (const std::int32_t blocks : {2, 3, 4, 8}) {
    for (const std::int32_t leaves : {2, 4, 8}) {
      if (leaves < blocks) continue;
      for (const std::int32_t columns : {1, 5, 16, 35}) {
        const WgmmaWork work{.sharing = WgmmaSharing::kSplit,
                             .leaves = leaves,
                             .columns = columns,
                             .token_tiles = 3,
                             .striped_tiles = 0,
                             .cluster = blocks};
        Coverage coverage(work);
        for (std::int32_t rank = 0; rank < blocks; ++rank) {
          for (const auto& own : walk_all(work, columns * 3, rank)) {
            ASSERT_EQ(own.size(), 1U);
            ASSERT_NO_FATAL_FAILURE(coverage.add(own.front()));
          }
        }
        ASSERT_TRUE(coverage.once()) << name_of(work, blocks);
      }
    }
  }
}

}  // namespace
}  // namespace awq::kernels::cuda
