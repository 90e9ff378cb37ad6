#include "ops/team_work.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace awq::ops {
namespace {

/// Computes `parts` with `team` threads where `threads` were expected; thread `slow` begins only when the others have
/// nothing left. Counts how often each unit was computed, and how many units each thread did.
struct Outcome {
  std::vector<std::vector<int>> computed;
  std::vector<std::int64_t> units_of_thread;
};
Outcome run(const std::vector<TeamPart>& parts, int threads, int team, int slow = -1) {
  std::vector<std::vector<std::atomic<int>>> counts;
  for (const TeamPart& part : parts) counts.emplace_back(static_cast<std::size_t>(part.count));
  Outcome out;
  out.units_of_thread.resize(static_cast<std::size_t>(team));
  TeamWork work(parts, threads);
  std::atomic<int> done{0};
  std::vector<std::thread> running;
  for (int t = 0; t < team; ++t) {
    running.emplace_back([&, t] {
      while (t == slow && done < team - 1) std::this_thread::yield();
      work.run(t, team, [&](std::size_t part, std::int64_t begin, std::int64_t end) {
        EXPECT_LT(begin, end);
        for (std::int64_t i = begin; i < end; ++i) ++counts.at(part).at(static_cast<std::size_t>(i));
        out.units_of_thread[static_cast<std::size_t>(t)] += end - begin;
      });
      ++done;
    });
  }
  for (std::thread& thread : running) thread.join();
  for (const auto& part : counts) out.computed.emplace_back(part.begin(), part.end());
  return out;
}

TEST(TeamWork, EveryUnitIsComputedOnce) {
  for (const std::int64_t count : {1, 5, 16, 200}) {
    for (const std::int64_t piece : {1, 4, 1000}) {
      for (const int threads : {1, 2, 3, 9}) {
        for (const int team : {1, threads / 2 + 1, threads}) {
          const std::vector<TeamPart> parts = {
              {count, piece, thread_blocks}, {3, piece, thread_blocks}, {count * 24, piece * 24, thread_rows}};
          const Outcome out = run(parts, threads, team);
          for (std::size_t i = 0; i < parts.size(); ++i) {
            EXPECT_EQ(out.computed[i], std::vector<int>(static_cast<std::size_t>(parts[i].count), 1))
                << count << " units in pieces of " << piece << ", " << threads << " threads, team of " << team;
          }
        }
      }
    }
  }
}

TEST(TeamWork, OthersTakeOverTheShareOfAThreadThatIsHeldUp) {
  const Outcome out = run({{256, 4, thread_blocks}, {64, 4, thread_blocks}}, 2, 2, 1);
  EXPECT_EQ(out.units_of_thread, (std::vector<std::int64_t>{320, 0}));
}

TEST(TeamWork, NoPartsAreNoWork) { EXPECT_TRUE(run({}, 2, 2).computed.empty()); }

TEST(TeamWork, PiecesAreWholeMultiples) {
  EXPECT_EQ(piece_units(1 << 14, 4), 8);  // 128 KB
  EXPECT_EQ(piece_units(45056, 4), 4);    // no less than one multiple
  EXPECT_EQ(piece_units(1 << 30, 24), 24);
  EXPECT_EQ(piece_units(0, 1), 1 << 17);
}

}  // namespace
}  // namespace awq::ops
