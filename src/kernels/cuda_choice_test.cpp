#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/w4_choose.h"
#include "kernels/cuda/w4_stream.h"

namespace awq::kernels::cuda {
namespace {

/// Sums of leaves that a block of a cluster has room for (WgmmaMemory::sum_slots).
int leaves_of_block(int tokens) { return tokens == 32 ? 2 : 4; }

void expect_runnable(const W4Choice& c, std::int64_t k, std::int64_t m, int fits) {
  const int leaves = w4_leaves(k);
  switch (c.kind) {
    case W4Kind::kSmall:
      EXPECT_LE(m, 8);
      EXPECT_LE(c.blocks, fits);
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
  }
}

TEST(CudaChoice, NamesOnlyWhatCanRun) {
  for (const std::int64_t k : {128, 512, 1536, 2048, 3072, 3584, 4096, 6144, 8192, 11008, 14336, 18944, 28672}) {
    for (const std::int64_t n : {8, 128, 640, 1024, 3584, 4096, 4608, 6144, 8192, 10240, 28672, 57344, 128256}) {
      for (const std::int64_t m : {1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33, 64, 65, 128, 129, 256, 257, 1024, 8192}) {
        for (const int multiprocessors : {78, 114, 132, 144}) {
          for (const int fits : {0, 1, 2}) {
            SCOPED_TRACE(testing::Message() << n << " x " << k << ", " << m << " tokens, " << multiprocessors);
            expect_runnable(hopper_choice({n, k, 128}, m, multiprocessors, fits >= 1, fits == 2), k, m, fits);
          }
        }
      }
    }
  }
}

TEST(CudaChoice, IsWhatTheSweepFoundOnTheLayersOfLlama3) {
  const auto choice = [](std::int64_t n, std::int64_t k, std::int64_t m) {
    const W4Choice c = hopper_choice({n, k, 128}, m, 132, m <= 8, m <= 4 && m * k <= 16384);
    return std::vector<int>{static_cast<int>(c.kind), c.tokens, c.blocks};
  };
  using Row = std::vector<int>;
  constexpr int kSmall = 0;
  constexpr int kWgmma = 1;
  constexpr int kPairs = 2;
  EXPECT_EQ(choice(4096, 4096, 1), (Row{kSmall, 0, 2}));
  EXPECT_EQ(choice(4096, 14336, 4), (Row{kSmall, 0, 1}));
  EXPECT_EQ(choice(28672, 4096, 16), (Row{kWgmma, 16, 1}));
  EXPECT_EQ(choice(4096, 14336, 16), (Row{kWgmma, 16, 4}));
  EXPECT_EQ(choice(8192, 8192, 16), (Row{kWgmma, 16, 2}));
  EXPECT_EQ(choice(4096, 4096, 64), (Row{kWgmma, 32, 2}));
  EXPECT_EQ(choice(3584, 18944, 64), (Row{kWgmma, 64, 4}));
  EXPECT_EQ(choice(8192, 28672, 64), (Row{kWgmma, 64, 2}));
  EXPECT_EQ(choice(28672, 4096, 64), (Row{kWgmma, 64, 1}));
  EXPECT_EQ(choice(28672, 4096, 128), (Row{kWgmma, 128, 1}));
  EXPECT_EQ(choice(57344, 8192, 4096), (Row{kPairs, 128, 1}));
}

}  // namespace
}  // namespace awq::kernels::cuda
