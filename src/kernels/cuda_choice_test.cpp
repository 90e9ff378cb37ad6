#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/w4_choose.h"
#include "kernels/cuda/w4_mma.h"
#include "kernels/cuda/w4_small.h"
#include "kernels/cuda/w4_stream.h"

namespace awq::kernels::cuda {
namespace {

/// Sums of leaves that a block of a cluster has room for (WgmmaMemory::sum_slots).
int leaves_of_block(int tokens) { return tokens == 32 ? 2 : 4; }

void expect_runnable(const W4Choice& c, std::int64_t k, std::int64_t m, bool fits) {
  const int leaves = w4_leaves(k);
  switch (c.kind) {
    case W4Kind::kSmall:
      EXPECT_LE(m, 8);
      EXPECT_TRUE(fits);
      break;
    case W4Kind::kWgmma:
      if (c.blocks == 1) break;
      EXPECT_LE(c.tokens, 64);
      EXPECT_EQ(leaves % c.blocks, 0);
      EXPECT_LE(leaves, c.blocks * leaves_of_block(c.tokens));
      break;
    case W4Kind::kWgmmaPairs:
      EXPECT_EQ(c.tokens, 128);
      EXPECT_GT(m, 64);
      break;
    case W4Kind::kMma:
      EXPECT_LE(m, c.tokens);
      break;
    case W4Kind::kWide:
      EXPECT_LE(c.tokens, 64);
      EXPECT_LE(c.blocks, leaves);
      break;
  }
}

TEST(CudaChoice, NamesOnlyWhatCanRun) {
  for (const std::int64_t k : {128, 512, 1536, 2048, 3072, 3584, 4096, 6144, 8192, 11008, 14336, 18944, 28672}) {
    for (const std::int64_t n : {8, 128, 640, 1024, 3584, 4096, 4608, 6144, 8192, 10240, 28672, 57344, 128256}) {
      for (const std::int64_t m : {1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 256, 257, 1024, 8192}) {
        for (const int multiprocessors : {78, 114, 132, 144}) {
          for (const bool fits : {false, true}) {
            SCOPED_TRACE(testing::Message() << n << " x " << k << ", " << m << " tokens, " << multiprocessors);
            expect_runnable(hopper_choice({n, k, 128}, m, multiprocessors, fits), k, m, fits);
          }
        }
      }
    }
  }
}

TEST(CudaChoice, IsWhatTheSweepFoundOnTheLayersOfLlama3) {
  const auto choice = [](std::int64_t n, std::int64_t k, std::int64_t m) {
    const W4Choice c = hopper_choice({n, k, 128}, m, 132, m <= 8);
    return std::vector<int>{static_cast<int>(c.kind), c.tokens, c.blocks};
  };
  using Row = std::vector<int>;
  constexpr int kSmall = 0;
  constexpr int kWgmma = 1;
  constexpr int kPairs = 2;
  constexpr int kMma = 3;
  EXPECT_EQ(choice(4096, 4096, 1), (Row{kSmall, 0, 1}));
  EXPECT_EQ(choice(4096, 14336, 4), (Row{kSmall, 0, 1}));
  EXPECT_EQ(choice(28672, 4096, 16), (Row{kWgmma, 16, 1}));
  EXPECT_EQ(choice(4096, 14336, 8), (Row{kMma, 8, 1}));
  EXPECT_EQ(choice(4096, 14336, 16), (Row{kMma, 16, 1}));
  EXPECT_EQ(choice(3584, 18944, 16), (Row{kWgmma, 16, 4}));
  EXPECT_EQ(choice(4096, 4096, 16), (Row{kWgmma, 16, 4}));
  EXPECT_EQ(choice(4096, 4096, 32), (Row{kMma, 32, 1}));
  EXPECT_EQ(choice(8192, 8192, 16), (Row{kWgmma, 16, 2}));
  EXPECT_EQ(choice(4096, 4096, 64), (Row{kWgmma, 32, 2}));
  EXPECT_EQ(choice(3584, 18944, 64), (Row{kWgmma, 64, 4}));
  EXPECT_EQ(choice(8192, 28672, 64), (Row{kWgmma, 64, 2}));
  EXPECT_EQ(choice(28672, 4096, 64), (Row{kWgmma, 64, 1}));
  EXPECT_EQ(choice(28672, 4096, 128), (Row{kWgmma, 128, 1}));
  EXPECT_EQ(choice(57344, 8192, 4096), (Row{kPairs, 128, 1}));
}

TEST(CudaSmall, WarpsOfABlockFitAndShareTheRowsEvenly) {
  constexpr int kShared = 232448;
  for (const std::int64_t k : {128, 1536, 3584, 4096, 8192, 14336, 28672}) {
    for (const std::int64_t n : {8, 1024, 4096, 6144, 10240, 28672, 57344}) {
      for (const std::int64_t m : {1, 2, 3, 8}) {
        for (const int shared_bytes : {101376, kShared}) {
          SCOPED_TRACE(testing::Message() << n << " x " << k << ", " << m << " tokens, " << shared_bytes << " bytes");
          const W4Layout layout{n, k, 128};
          const int warps = small_warps(layout, m, 132, shared_bytes);
          if (warps == 0) {
            EXPECT_GT(small_shared_bytes(layout, m, w4_leaves(k)), shared_bytes);
            continue;
          }
          EXPECT_LE(warps, kSmallMostWarps);
          EXPECT_EQ(warps % w4_leaves(k), 0);
          EXPECT_LE(small_shared_bytes(layout, m, warps), shared_bytes);
          // No smaller block would need as few rounds.
          const std::int64_t tiles = (n + 15) / 16;
          const auto rounds = [&](std::int64_t together) { return (tiles + 132 * together - 1) / (132 * together); };
          const std::int64_t together = warps / w4_leaves(k);
          if (together > 1) {
            EXPECT_GT(rounds(together - 1), rounds(together));
          }
        }
      }
    }
  }
  // The widest layer of Llama-3-8B: 1792 tiles of 16 rows in two rounds of 132 x 7.
  EXPECT_EQ(small_warps({28672, 4096, 128}, 1, 132, kShared), 28);
  EXPECT_EQ(small_warps({6144, 4096, 128}, 1, 132, kShared), 12);
}

TEST(CudaSmall, FitsTheFirstDevicesWithTensorCoresOfItsKind) {
  constexpr int kShared = 65536;  // compute capability 7.5, of which a T4 has 40 multiprocessors
  const int depth = small_depth(75);
  for (const std::int64_t k : {128, 1536, 3584, 4096, 14336}) {
    for (const std::int64_t m : {1, 2, 4, 8}) {
      const W4Layout layout{4096, k, 128};
      const int warps = small_warps(layout, m, 40, kShared, depth);
      EXPECT_LE(small_shared_bytes(layout, m, warps, depth), warps == 0 ? INT64_MAX : kShared) << k << ", " << m;
    }
  }
  // A ring for copies that run beside the kernel would leave room for half as many.
  EXPECT_EQ(small_warps({4096, 4096, 128}, 1, 40, kShared, depth), 8);
  EXPECT_EQ(small_warps({4096, 4096, 128}, 1, 40, kShared, kSmallDepth), 4);
}

TEST(CudaPanel, PaysFromSomeNumberOfTokensOn) {
  for (const int capability : {75, 80, 86, 89, 90, 100, 120}) {
    for (const auto& [n, k] : {std::pair<std::int64_t, std::int64_t>{4096, 4096}, {28672, 4096}, {57344, 8192}}) {
      EXPECT_FALSE(panel_pays({n, k, 128}, 256, capability)) << n << " x " << k << ", " << capability;
      EXPECT_TRUE(panel_pays({n, k, 128}, 2048, capability)) << n << " x " << k << ", " << capability;
      bool before = false;
      for (std::int64_t m = 1; m <= 4096; ++m) {
        const bool pays = panel_pays({n, k, 128}, m, capability);
        EXPECT_TRUE(pays || !before) << n << " x " << k << ", " << m << " tokens";
        before = pays;
      }
    }
  }
  // On Hopper 225 p / (100 - p) tokens, p the percentage of docs/benchmarks-cuda.md.
  EXPECT_FALSE(panel_pays({4096, 4096, 128}, 640, 90));
  EXPECT_TRUE(panel_pays({4096, 4096, 128}, 641, 90));
  EXPECT_FALSE(panel_pays({28672, 4096, 128}, 1382, 90));
  EXPECT_TRUE(panel_pays({28672, 4096, 128}, 1383, 90));
}

TEST(CudaMma, TilesOfALaunchAreEachTileOnce) {
  for (const int strips : {1, 2, 32, 86}) {
    for (const int token_tiles : {1, 5, 16, 17, 40}) {
      std::vector<int> seen(static_cast<std::size_t>(strips) * token_tiles);
      for (int i = 0; i < strips * token_tiles; ++i) {
        const MmaTile tile = mma_tile(i, strips, token_tiles);
        ASSERT_LT(tile.strip, strips);
        ASSERT_LT(tile.token_tile, token_tiles);
        ++seen[static_cast<std::size_t>(tile.strip) * token_tiles + tile.token_tile];
      }
      for (const int times : seen) EXPECT_EQ(times, 1);
    }
  }
}

TEST(CudaMma, ActivationsOfAStageLieApartAndFill) {
  for (const int tokens : {8, 16, 32, 64}) {
    for (const int group_size : {32, 64, 128}) {
      const MmaMemory memory{tokens, group_size};
      EXPECT_EQ(memory.slab_bytes(), (W4Layout{128, 128, group_size}.slab_bytes()));
      EXPECT_EQ(memory.stage_bytes() % 128, 0);
      EXPECT_LE(tokens * MmaMemory::kResultPitch + 4, 2 * memory.stage_bytes());
      std::vector<int> seen(static_cast<std::size_t>(memory.x_bytes()) / 16);
      for (int i = 0; i < tokens * 16; ++i) ++seen.at(static_cast<std::size_t>(memory.x_offset(i / 16, i % 16)) / 16);
      for (const int times : seen) EXPECT_EQ(times, 1);
    }
  }
}

TEST(CudaLayout, OneGroupMaySpanASmallK) {
  for (const std::int64_t k : {8, 24, 40, 56, 96}) {
    const W4Layout layout{16, k, k};
    EXPECT_EQ(layout.step_groups(), 1);
    for (std::int64_t row = 0; row < 16; ++row) {
      EXPECT_EQ(w4_scale_offset(layout, row, k - 1), w4_scale_offset(layout, row, 0));
      EXPECT_LT(w4_zero_offset(layout, row, k - 1), layout.slab_bytes());
    }
  }
}

}  // namespace
}  // namespace awq::kernels::cuda
