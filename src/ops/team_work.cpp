#include "ops/team_work.h"

#include <algorithm>
#include <vector>

namespace awq::ops {
namespace {

constexpr std::int64_t kPieceBytes = 1 << 17;
// Others whose shares a thread looks at: with many threads, all of all would take longer than what is left to do.
constexpr int kMostVictims = 4;

}  // namespace

std::span<TeamWork::Share> TeamWork::shares_of(int threads) {
  thread_local std::vector<Share> shares;
  const auto count = static_cast<std::size_t>(threads);
  if (shares.size() < count) shares = std::vector<Share>(count);
  return std::span(shares).first(count);
}

TeamWork::TeamWork(std::span<const TeamPart> parts, int threads) : parts_(parts), shares_(shares_of(threads)) {
  for (int t = 0; t < threads; ++t) {
    std::int64_t pieces = 0;
    for (const TeamPart& part : parts_) pieces += pieces_of(part, t);
    shares_[static_cast<std::size_t>(t)].left.store(static_cast<std::uint64_t>(pieces), std::memory_order_relaxed);
  }
}

bool TeamWork::take(int owner, bool own, Pieces& out) {
  std::atomic<std::uint64_t>& left = shares_[static_cast<std::size_t>(owner)].left;
  std::uint64_t seen = left.load(std::memory_order_relaxed);
  for (;;) {
    const auto begin = static_cast<std::int64_t>(seen >> 32);
    const auto end = static_cast<std::int64_t>(seen & 0xFFFFFFFFU);
    if (begin >= end) return false;
    // The owner takes most of what it has, so that it reads long runs, and less and less towards the end.
    const std::int64_t rest = end - begin;
    const std::int64_t count = own ? std::max<std::int64_t>(1, rest * 3 / 4) : (rest + 1) / 2;
    const std::int64_t cut = own ? begin + count : end - count;
    out = own ? Pieces{owner, begin, cut} : Pieces{owner, cut, end};
    const std::uint64_t after = own ? static_cast<std::uint64_t>(cut) << 32 | static_cast<std::uint64_t>(end)
                                    : static_cast<std::uint64_t>(begin) << 32 | static_cast<std::uint64_t>(cut);
    // A piece carries nothing from one thread to another: what it reads was there before the team began.
    if (left.compare_exchange_weak(seen, after, std::memory_order_relaxed)) return true;
  }
}

bool TeamWork::next(int thread, int threads, Pieces& out) {
  for (int owner = thread; owner < static_cast<int>(shares_.size()); owner += threads) {
    if (take(owner, true, out)) return true;
  }
  for (int i = 1; i < threads && i <= kMostVictims; ++i) {
    if (take((thread + i) % threads, false, out)) return true;
  }
  return false;
}

std::int64_t piece_units(std::int64_t unit_bytes, std::int64_t multiple) {
  return std::max<std::int64_t>(1, kPieceBytes / std::max<std::int64_t>(1, unit_bytes * multiple)) * multiple;
}

}  // namespace awq::ops
