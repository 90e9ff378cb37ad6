// The small parts of this folder: messages, buffers, random numbers, the stop flag.

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/cpu_features.h"
#include "base/page_arena.h"
#include "base/random.h"
#include "base/stop.h"

namespace awq {
namespace {

TEST(Error, JoinsMessageAndNotes) {
  Error error(ErrorCode::kCorruptFile, "what was found");
  error.add_note("layer 3").add_note("model");
  EXPECT_STREQ(error.what(), "what was found (layer 3) (model)");
  EXPECT_EQ(error.message(), "what was found");
  EXPECT_EQ(error.notes().size(), 2U);
}

TEST(Check, FailsAsInternalError) {
  try {
    AWQ_CHECK(1 + 1 == 3);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInternal);
    EXPECT_NE(std::string(error.what()).find("1 + 1 == 3"), std::string::npos);
  }
}

TEST(Printable, EscapesAndCuts) {
  EXPECT_EQ(printable("plain text"), "plain text");
  const std::string escaped = printable(std::string("a\n\x1b[31m\0b", 9));
  for (const char c : escaped) EXPECT_GE(c, ' ') << escaped;
  EXPECT_LE(printable(std::string(100000, 'x')).size(), 130U);
}

TEST(AlignedBuffer, ZeroedAlignedMovable) {
  for (const std::size_t count : {std::size_t{1}, std::size_t{17}, std::size_t{100'000}, std::size_t{3'000'000}}) {
    AlignedBuffer<float> buffer(count);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 64, 0U);
    EXPECT_TRUE(std::all_of(buffer.begin(), buffer.end(), [](float v) { return v == 0; }));
    buffer[count - 1] = 5;
    AlignedBuffer<float> moved(std::move(buffer));
    EXPECT_EQ(moved[count - 1], 5);
    EXPECT_EQ(moved.bytes().size(), count * sizeof(float));
  }
  AlignedBuffer<int> none(0);
  EXPECT_TRUE(none.empty());
  none.ensure(3);
  EXPECT_EQ(none.size(), 3U);
  const int* before = none.data();
  none.ensure(2);
  EXPECT_EQ(none.data(), before);
}

TEST(PageArena, PiecesAreZeroedApartAndOutliveIt) {
  std::vector<AlignedBuffer<std::uint32_t>> pieces;
  const std::size_t counts[] = {1, 1000, 3'000'000, 17, 100'000'000, 5, 70'000'000};
  {
    PageArena arena;
    EXPECT_TRUE(arena.take<std::uint32_t>(0).empty());
    for (const std::size_t count : counts) pieces.push_back(arena.take<std::uint32_t>(count));
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    ASSERT_EQ(pieces[i].size(), counts[i]);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pieces[i].data()) % 4096, 0U);
    for (std::uint32_t* at : {&pieces[i][0], &pieces[i][counts[i] / 2], &pieces[i][counts[i] - 1]}) {
      if (counts[i] > 2) {
        EXPECT_EQ(*at, 0U);
      }
      *at = static_cast<std::uint32_t>(i + 1);
    }
  }
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    EXPECT_EQ(pieces[i][0], i + 1);
    EXPECT_EQ(pieces[i][counts[i] - 1], i + 1);
  }
  const AlignedBuffer<std::uint32_t> moved = std::move(pieces[1]);
  pieces.clear();
  EXPECT_EQ(moved[999], 2U);
}

TEST(AlignedBuffer, HugeSizeIsAnErrorAndNoCrash) {
  try {
    allocate_pages(std::size_t{1} << 60);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
  }
}

TEST(Random, KnownValuesAndRange) {
  // First outputs of SplitMix64 from state 0, as its authors' C code prints them.
  EXPECT_EQ(mix64(0), 0xE220A8397B1DCDAFULL);
  EXPECT_EQ(mix64(0x9E3779B97F4A7C15ULL), 0x6E789E6AA1B965F4ULL);
  std::set<std::uint64_t> seen;
  double sum = 0;
  constexpr int kCount = 10000;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const double u = uniform(3, i);
    EXPECT_GE(u, 0.0);
    EXPECT_LT(u, 1.0);
    sum += u;
    seen.insert(random_bits(3, i));
  }
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(kCount));
  // The mean of n uniform numbers has the deviation 1 / sqrt(12 n), here 0.003.
  EXPECT_NEAR(sum / kCount, 0.5, 5 * 0.003);
}

TEST(StopFlag, ThrowsWithTheSignal) {
  StopFlag flag;
  EXPECT_NO_THROW(flag.throw_if_requested());
  flag.request(15);
  try {
    flag.throw_if_requested();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
    EXPECT_EQ(error.signal(), 15);
  }
}

TEST(CpuFeatures, NamesAndBounds) {
  EXPECT_EQ(isa_name(Isa::kScalar), "scalar");
  EXPECT_EQ(isa_name(Isa::kAmx), "amx");
  EXPECT_THROW(cap_isa("sse9"), Error);
  EXPECT_GE(usable_processors(), 1);
  EXPECT_TRUE(active_isa() >= Isa::kAvx512Vnni || !has_native_bf16());
}

}  // namespace
}  // namespace awq
