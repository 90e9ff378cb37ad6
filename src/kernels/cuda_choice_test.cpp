#include <gtest/gtest.h>

#include <array>
#include <sstream>
#include <vector>

#include "kernels/cuda/w4_choose.h"
#include "kernels/cuda/w4_mma.h"
#include "kernels/cuda/w4_small.h"
#include "kernels/cuda/w4_stream.h"

namespace awq::kernels::cuda {
namespace {

/// And a row of the table: w4_table.cu has all that are named here.
void expect_runnable(const W4Choice& c, const W4Layout& layout, std::int64_t m, int multiprocessors, bool fits) {
  switch (c.kind) {
    case W4Kind::kSmall:
      EXPECT_LE(m, 8);
      EXPECT_TRUE(fits);
      break;
    case W4Kind::kWgmma:
      EXPECT_TRUE(c.tokens == 64 || c.tokens == 128) << c.tokens;
      EXPECT_EQ(c.blocks, 1);
      break;
    case W4Kind::kWgmmaPairs:
      EXPECT_EQ(c.tokens, 128);
      EXPECT_EQ(c.blocks, 1);
      EXPECT_GT(m, 64);
      break;
    case W4Kind::kMma:
      EXPECT_EQ(c.tokens, 8);
      EXPECT_EQ(c.blocks, 1);
      EXPECT_LE(m, c.tokens);
      break;
    case W4Kind::kWide:
      EXPECT_TRUE(c.tokens == 16 || c.tokens == 32 || c.tokens == 64) << c.tokens;
      EXPECT_EQ(w4_leaves(layout.k) % c.blocks, 0);
      if (c.blocks > 1) {  // which wait for each other
        EXPECT_LE((layout.n + 255) / 256 * ((m + c.tokens - 1) / c.tokens) * c.blocks, multiprocessors);
      }
      break;
    case W4Kind::kMany:
      EXPECT_EQ(c.tokens, 128);
      EXPECT_TRUE(c.blocks == 3 || c.blocks == 4) << c.blocks;
      EXPECT_LE(c.blocks, w4_leaves(layout.k));
      EXPECT_LE((layout.n + 191) / 192 * ((m + 127) / 128) * c.blocks, multiprocessors);
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
            const W4Layout layout{n, k, 128};
            expect_runnable(hopper_choice(layout, m, multiprocessors, fits), layout, m, multiprocessors, fits);
          }
        }
      }
    }
  }
}

/// The row's name; /4: four blocks to a tile.
std::ostream& operator<<(std::ostream& out, const W4Choice& c) {
  constexpr std::array<const char*, 6> kNames = {"small", "wgmma-", "wgmma-pairs-", "mma-", "wide-", "many-"};
  out << kNames.at(static_cast<std::size_t>(c.kind));
  if (c.tokens > 0) out << c.tokens;
  if (c.blocks > 1) out << '/' << c.blocks;
  return out;
}

TEST(CudaChoice, IsWhatTheSweepFoundOnTheLayersOfLlama3) {
  // For 1, 4, 8, 16, 32, 64, 128, 256, 512, 1024 and 4096 tokens.
  const auto choices = [](std::int64_t n, std::int64_t k) {
    std::ostringstream names;
    for (const std::int64_t m : {1, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096}) {
      const W4Layout layout{n, k, 128};
      const bool fits = m <= 8 && small_warps(layout, m, 132, 232448) > 0;
      names << (m > 1 ? " " : "") << hopper_choice(layout, m, 132, fits);
    }
    return names.str();
  };
  // Query, key and value, output, gate and up, down: of the model of 8B, then of 70B.
  EXPECT_EQ(choices(6144, 4096),
            "small small small wide-16/4 wide-32/4 wide-64/4 many-128/4 wgmma-pairs-128 wgmma-pairs-128 "
            "wgmma-pairs-128 wgmma-128");
  EXPECT_EQ(
      choices(4096, 4096),
      "small small small wide-16/4 wide-32/4 wide-64/4 wide-64/4 wgmma-64 wgmma-pairs-128 wgmma-pairs-128 wgmma-128");
  EXPECT_EQ(choices(28672, 4096),
            "small small small wide-16 wide-32 wgmma-64 wgmma-128 wgmma-pairs-128 wgmma-128 wgmma-128 wgmma-128");
  EXPECT_EQ(choices(4096, 14336),
            "small small mma-8 wide-16/8 wide-32/8 wide-64/8 wide-64/4 many-128/3 wgmma-pairs-128 wgmma-128 wgmma-128");
  EXPECT_EQ(
      choices(10240, 8192),
      "small small wide-16/2 wide-16/2 wide-32/2 wgmma-64 wgmma-64 wgmma-pairs-128 wgmma-128 wgmma-128 wgmma-128");
  EXPECT_EQ(choices(8192, 8192),
            "small small mma-8 wide-16/4 wide-32/4 wide-64/4 many-128/3 wgmma-pairs-128 wgmma-128 wgmma-128 wgmma-128");
  EXPECT_EQ(choices(57344, 8192),
            "small small wide-16 wide-16 wide-32 wgmma-64 wgmma-128 wgmma-128 wgmma-128 wgmma-128 wgmma-128");
  EXPECT_EQ(choices(8192, 28672),
            "small wide-16/4 wide-16/4 wide-16/4 wide-32/4 wide-64/4 many-128/3 wgmma-pairs-128 wgmma-128 wgmma-128 "
            "wgmma-128");
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
  EXPECT_FALSE(panel_pays({4096, 4096, 128}, 1025, 90));
  EXPECT_TRUE(panel_pays({4096, 4096, 128}, 1026, 90));
  EXPECT_FALSE(panel_pays({28672, 4096, 128}, 1650, 90));
  EXPECT_TRUE(panel_pays({28672, 4096, 128}, 1651, 90));
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
