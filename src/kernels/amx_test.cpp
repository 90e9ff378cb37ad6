// The source of the AMX kernels with the tile instructions in software, against the reference, on any processor.

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "kernels/cpu/amx/packed_amx_tile.h"
#include "kernels/packed_test_support.h"
#include "kernels/ref/packed_ref.h"

namespace awq::kernels {
namespace {

/// What Intel's manual says that the instructions do, with the checks that make the processor fault.
struct EmulatedTiles {
  struct State {
    amx::TileConfig config;
    bool configured = false;
    std::uint8_t data[8][16][64];
  };
  static State& state() {
    thread_local State value;
    return value;
  }
  static void configure(const amx::TileConfig& config) {
    ASSERT_EQ(config.palette, 1);
    ASSERT_EQ(config.start_row, 0);
    for (int t = 0; t < 8; ++t) {
      ASSERT_LE(config.rows[t], 16);
      ASSERT_LE(config.row_bytes[t], 64);
      ASSERT_EQ(config.rows[t] == 0, config.row_bytes[t] == 0);
    }
    state().config = config;
    state().configured = true;
    std::memset(state().data, 0xA5, sizeof(state().data));  // really zero; garbage finds a tile that nobody set
  }
  static void release() { state().configured = false; }
  template <int kTile>
  static void zero() {
    ASSERT_TRUE(state().configured);
    std::memset(state().data[kTile], 0, sizeof(state().data[kTile]));
  }
  template <int kTile>
  static void load(const void* from, std::int64_t stride) {
    ASSERT_TRUE(state().configured);
    std::memset(state().data[kTile], 0, sizeof(state().data[kTile]));
    for (int r = 0; r < state().config.rows[kTile]; ++r) {
      std::memcpy(state().data[kTile][r], static_cast<const char*>(from) + r * stride, state().config.row_bytes[kTile]);
    }
  }
  template <int kTile>
  static void store(void* to, std::int64_t stride) {
    ASSERT_TRUE(state().configured);
    for (int r = 0; r < state().config.rows[kTile]; ++r) {
      std::memcpy(static_cast<char*>(to) + r * stride, state().data[kTile][r], state().config.row_bytes[kTile]);
    }
  }
  template <int kSum, int kA, int kB>
  static void dot_signed_unsigned() {
    const State& s = state();
    ASSERT_TRUE(s.configured);
    ASSERT_EQ(s.config.rows[kA], s.config.rows[kSum]);
    ASSERT_EQ(s.config.row_bytes[kA], 4 * s.config.rows[kB]);
    ASSERT_EQ(s.config.row_bytes[kB], s.config.row_bytes[kSum]);
    for (int r = 0; r < s.config.rows[kSum]; ++r) {
      for (int c = 0; c < s.config.row_bytes[kSum] / 4; ++c) {
        std::int32_t sum = 0;
        std::memcpy(&sum, &s.data[kSum][r][4 * c], 4);
        for (int i = 0; i < s.config.row_bytes[kA]; ++i) {
          sum += static_cast<std::int8_t>(s.data[kA][r][i]) * s.data[kB][i / 4][4 * c + i % 4];
        }
        std::memcpy(&state().data[kSum][r][4 * c], &sum, 4);
      }
    }
  }
};

template <int kBits, int kPlanes>
void run(const PackedArgs& args, std::int64_t block_begin, std::int64_t block_end, std::int64_t panel_begin,
         std::int64_t panel_end) noexcept {
  static const auto work = std::make_unique<amx::TileWork>();
  amx::packed_tiles<EmulatedTiles, kBits, kPlanes>(args, *work, block_begin, block_end, panel_begin, panel_end);
}

TEST(AmxKernels, EmulatedTilesAgreeWithTheReferenceBitForBit) {
  const PackedKernel kernels[] = {{"i8_u4", 4, 1, 0, CpuFeature::kNone, 16, true, 1, run<4, 1>},
                                  {"i15_u4", 4, 2, 0, CpuFeature::kNone, 16, true, 1, run<4, 2>},
                                  {"i8_u8", 8, 1, 0, CpuFeature::kNone, 16, true, 1, run<8, 1>},
                                  {"i15_u8", 8, 2, 0, CpuFeature::kNone, 16, true, 1, run<8, 2>}};
  const PackedKernel* judges[] = {&ref::kI8U4, &ref::kI15U4, &ref::kI8U8, &ref::kI15U8};
  // Groups longer than the decoded chunk, panels beyond a batch, tails of everything.
  const test::PackedShape shapes[] = {{33, 256, 64, 4},  {16, 172, 172, 4}, {20, 1088, 544, 4}, {7, 40, 8, 8},
                                      {40, 640, 640, 8}, {5, 33, 33, 8},    {16, 128, 32, 4}};
  for (int i = 0; i < 4; ++i) {
    for (const test::PackedShape& shape : shapes) {
      if (shape.bits != kernels[i].bits) continue;
      for (const std::int64_t m : {1, 5, 16, 17, 40, 270}) {
        if (m > 64 && shape.k > 256) continue;
        const test::PackedProblem p(shape, m % 2 == 0, static_cast<std::uint64_t>(m));
        const std::vector<float> x = test::random_inputs(m, shape.k, 6);
        const test::ActivationMemory a(shape, m, 16, kernels[i].planes, true, x, ref::kQuantizeActivations);
        const std::vector<float> expected = p.run(*judges[i], a, m % 2 == 0);
        ASSERT_EQ(p.run(kernels[i], a, m % 2 == 0), expected) << kernels[i].name << " m " << m << " k " << shape.k;
        ASSERT_EQ(p.run(kernels[i], a, m % 2 == 0, 3), expected) << kernels[i].name << " in parts";
      }
    }
  }
}

TEST(AmxKernels, HalfScalesConvertExactly) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float expected = to_float(F16{static_cast<std::uint16_t>(bits)});
    const float got = amx::half_to_float<EmulatedTiles>(static_cast<std::uint16_t>(bits));
    ASSERT_EQ(std::memcmp(&got, &expected, 4), 0) << bits;
  }
}

TEST(AmxKernels, ConfigurationIsWhatTheInstructionReads) {
  EXPECT_EQ(sizeof(amx::TileConfig), 64U);
  EXPECT_EQ(offsetof(amx::TileConfig, row_bytes), 16U);
  EXPECT_EQ(offsetof(amx::TileConfig, rows), 48U);
}

}  // namespace
}  // namespace awq::kernels
