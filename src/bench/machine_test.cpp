#include "bench/machine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "base/cpu_features.h"
#include "bench/foreign_cpu.h"
#include "kernels/api/peak.h"

namespace awq::bench {
namespace {

TEST(Median, OfOddAndEvenNumbers) {
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 3, 2}), 2.5);
  EXPECT_EQ(median({}), 0);
}

TEST(PeakKernels, EveryStepCounts) {
  int tried = 0;
  for (const kernels::PeakKernel* row = kernels::peak_kernels_cpu(); row->name != nullptr; ++row) {
    if (row->min_isa > static_cast<std::uint8_t>(active_isa()) || (row->needs_bf16 && !has_native_bf16())) continue;
    if (row->min_isa >= static_cast<std::uint8_t>(Isa::kAmx))
      continue;  // needs the permission that measure_peaks() asks for
    ++tried;
    const float one = row->run(1), two = row->run(2), three = row->run(3);
    EXPECT_NE(one, two) << row->name;
    EXPECT_NE(two, three) << row->name;
    // Sums of the same product grow by the same amount.
    if (row->arithmetic != std::string("fp32")) {
      EXPECT_EQ(two - one, three - two) << row->name;
    }
  }
  EXPECT_GT(tried, 0);
}

TEST(PeakKernels, OnePeakForEachArithmetic) {
  const std::vector<Peak> peaks = measure_peaks();
  EXPECT_GT(peak_of(peaks, "fp32"), 1e8);
  EXPECT_EQ(peak_of(peaks, "fp3"), 0);
  for (std::size_t i = 0; i < peaks.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(peaks[i].arithmetic, peaks[j].arithmetic);
  }
}

TEST(ReadMeter, ReadsTheWholeBuffer) {
  const ReadMeter meter(3 << 20);
  EXPECT_EQ(meter.bytes(), 3U << 20);
  EXPECT_GT(meter.plain(3), 1e7);
  const StreamReader best = meter.best();
  EXPECT_GT(best.bytes_per_s, 1e7);
  EXPECT_GE(best.streams, 1);
}

TEST(ForeignCpuWatch, IsAShare) {
  const ForeignCpuWatch watch;
  volatile double x = 1;
  for (int i = 0; i < 1000000; ++i) x = x * 1.0000001;
  EXPECT_GE(watch.share(), 0);
  EXPECT_LE(watch.share(), 1);
}

}  // namespace
}  // namespace awq::bench
