#include "base/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"

namespace awq {
namespace {

/// Calls body(i) for i in [0, count) under `error`'s guard, on `threads` threads.
template <typename Body>
void on_threads(int threads, int count, ParallelError& error, Body body) {
  std::vector<std::thread> team;
  for (int t = 0; t < threads; ++t) {
    team.emplace_back([=, &error] {
      for (int i = t; i < count; i += threads) error.guard([&] { body(i); });
    });
  }
  for (std::thread& thread : team) thread.join();
}

TEST(ParallelError, NothingThrownIsNothingRethrown) {
  ParallelError error;
  std::atomic<int> done{0};
  on_threads(4, 100, error, [&](int) { ++done; });
  EXPECT_NO_THROW(error.rethrow());
  EXPECT_EQ(done.load(), 100);
}

TEST(ParallelError, CarriesTheErrorWithItsCodeAndWords) {
  ParallelError error;
  on_threads(4, 100, error, [](int i) { fail(ErrorCode::kCorruptFile, "row {}", i); });
  EXPECT_TRUE(error.failed());
  try {
    error.rethrow();
    FAIL() << "no error";
  } catch (const Error& found) {
    EXPECT_EQ(found.code(), ErrorCode::kCorruptFile);
    EXPECT_EQ(std::string(found.what()).rfind("row ", 0), 0U) << found.what();
  }
}

TEST(ParallelError, SkipsWhatHasNotBegun) {
  ParallelError error;
  std::atomic<int> done{0};
  on_threads(1, 100, error, [&](int i) {
    if (i == 10) throw std::bad_alloc();
    ++done;
  });
  EXPECT_THROW(error.rethrow(), std::bad_alloc);
  EXPECT_EQ(done.load(), 10);
}

}  // namespace
}  // namespace awq
