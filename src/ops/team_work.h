#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>

#include "ops/parallel.h"

namespace awq::ops {

/// One product of a call: `count` units of outputs (blocks or rows), each thread's own ones by `divide`.
struct TeamPart {
  std::int64_t count = 0;
  std::int64_t piece = 1;  ///< units that change hands together
  BlockRange (*divide)(std::int64_t count, int thread, int threads) = nullptr;
};

/// The products of a call, dealt out to the threads of a team beforehand, so that each reads memory near it in long
/// runs. A thread that is done goes on with the last pieces of another one's share: threads that other programs hold
/// up, or whose cores differ, finish together. Chance decides who computes a piece, not what comes of it.
///
///   TeamWork work(parts, threads);
///   #pragma omp parallel
///   work.run(omp_get_thread_num(), omp_get_num_threads(), [&](std::size_t part, std::int64_t begin, ...end) { ... });
///
/// A thread may have one at a time. Allocates when it is its first with so many threads.
class TeamWork {
 public:
  /// `parts` have to live as long; shares are made for `threads` threads.
  TeamWork(std::span<const TeamPart> parts, int threads);

  /// Until nothing is left that this thread can take: run(part, begin, end) computes units [begin, end) of a part.
  /// Every unit is computed once, also when the team is smaller than was expected.
  template <typename Run>
  void run(int thread, int threads, const Run& run) {
    Pieces pieces;
    while (next(thread, threads, pieces)) {
      // The pieces of a share are those of its first part, then those of the next one.
      std::int64_t first = 0;
      for (std::size_t i = 0; i < parts_.size(); ++i) {
        const BlockRange own = range_of(parts_[i], pieces.owner);
        const std::int64_t begin = std::max(own.begin, own.begin + (pieces.begin - first) * parts_[i].piece);
        const std::int64_t end = std::min(own.end, own.begin + (pieces.end - first) * parts_[i].piece);
        if (begin < end) run(i, begin, end);
        first += pieces_of(parts_[i], pieces.owner);
      }
    }
  }

 private:
  /// What is left of a share: pieces [begin, end), begin in the upper half. On a line of its own.
  struct alignas(64) Share {
    std::atomic<std::uint64_t> left{0};
  };
  struct Pieces {
    int owner = 0;
    std::int64_t begin = 0, end = 0;
  };

  static std::span<Share> shares_of(int threads);
  BlockRange range_of(const TeamPart& part, int thread) const {
    return part.divide(part.count, thread, static_cast<int>(shares_.size()));
  }
  std::int64_t pieces_of(const TeamPart& part, int thread) const {
    const BlockRange own = range_of(part, thread);
    return (own.end - own.begin + part.piece - 1) / part.piece;
  }
  bool next(int thread, int threads, Pieces& out);
  bool take(int owner, bool own, Pieces& out);

  std::span<const TeamPart> parts_;
  std::span<Share> shares_;
};

/// Units of `unit_bytes` each that make a piece: what takes a thread some ten microseconds to read, in whole
/// `multiple`s.
std::int64_t piece_units(std::int64_t unit_bytes, std::int64_t multiple);

}  // namespace awq::ops
