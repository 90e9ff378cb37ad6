#pragma once

// The definition of kernels/api/draw.h as work for a team of threads, the same source for a processor, whose "threads"
// are turns of a loop, and for a block of a device.

#include <cstdint>

#include "base/host_device.h"
#include "kernels/api/draw.h"

namespace awq::kernels {

inline constexpr std::uint32_t kSmallestShareBits = 87U << 23;  ///< of 2^-40
inline constexpr std::uint32_t kLargestShareBits = 127U << 23;  ///< of 1
/// A share's bits above those of 2^-40 are looked at from the top down: 32 buckets for each factor of two, then 512 in
/// each of them, then 512.
inline constexpr int kDrawLevels = 3;
AWQ_HOST_DEVICE constexpr int draw_shift(int level) { return 18 - 9 * level; }
inline constexpr std::int32_t kDrawBuckets = ((kLargestShareBits - kSmallestShareBits) >> draw_shift(0)) + 1;
inline constexpr std::uint64_t kNoDrawLimit = 0xffffffffffffffffU;
inline constexpr std::int32_t kLastDrawnId = 0x7fffffff;
inline constexpr std::int32_t kDrawChunks = 32;  ///< of buckets, added up side by side

/// What the threads share.
template <int kThreads>
struct DrawScratch {
  std::uint64_t partial[kThreads];
  std::uint64_t sums[kDrawBuckets];  ///< weights of each bucket
  std::uint32_t counts[kDrawBuckets];
  std::uint64_t chunk_sums[kDrawChunks];
  std::uint32_t chunk_counts[kDrawChunks];
  std::uint64_t total, before;  ///< written by one thread for all
  std::uint64_t count;
  std::int32_t found;
};

/// The last of the ids that are kept, in the order from the likeliest.
struct DrawCut {
  std::uint32_t bits = 0;  ///< of its share
  std::int32_t id = 0;
  AWQ_HOST_DEVICE bool keeps(std::uint32_t share_bits, std::int32_t i) const {
    return share_bits > bits || (share_bits == bits && i <= id);
  }
};

AWQ_HOST_DEVICE inline std::uint32_t share_bits(float share) {
  std::uint32_t bits = 0;
  __builtin_memcpy(&bits, &share, sizeof(bits));
  return bits;
}
AWQ_HOST_DEVICE inline std::uint64_t share_weight(std::uint32_t bits) {
  float share = 0;
  __builtin_memcpy(&share, &bits, sizeof(share));
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(share * 0x1p40F));
}
/// floor(a * b / 2^64)
AWQ_HOST_DEVICE inline std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
#ifdef __CUDA_ARCH__
  return __umul64hi(a, b);
#else
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(static_cast<Wide>(a) * b >> 64);
#endif
}

/// Block provides kGroups groups of kLanes threads, each(f), which calls f(thread) for all of them and waits for all,
/// and add(place, value) for places that several threads add to. Row provides count() candidates in the order of their
/// ids, bits(i) of a candidate's share and its id(i), and may drop candidates with smaller shares at narrow(bits).
/// Below, "id" is the number of a candidate.
template <class Block, class Row>
class RowDraw {
 public:
  static constexpr int kThreads = Block::kGroups * Block::kLanes;
  using Scratch = DrawScratch<kThreads>;

  AWQ_HOST_DEVICE RowDraw(Block block, Scratch& scratch, Row& row) : block_(block), s_(scratch), row_(row) {}

  AWQ_HOST_DEVICE std::int32_t draw(const DrawRule& rule) {
    DrawCut cut = {share_bits(rule.smallest), kLastDrawnId};
    const std::uint64_t most = rule.top_k > 0 ? static_cast<std::uint64_t>(rule.top_k) : kNoDrawLimit;
    if (most < static_cast<std::uint64_t>(row_.count())) cut = find_cut(cut, most, kNoDrawLimit);
    if (rule.top_p < 1) {
      const double share = rule.top_p * static_cast<double>(total_of(cut));
      auto limit = static_cast<std::uint64_t>(share);
      if (static_cast<double>(limit) < share) ++limit;
      cut = find_cut(cut, most, limit);
    }
    return row_.id(
        first_beyond([&](std::uint32_t bits, std::int32_t i) { return cut.keeps(bits, i) ? share_weight(bits) : 0; },
                     [&](std::uint64_t total) { return multiply_high(rule.bits, total); }));
  }

 private:
  /// Ids [begin, end) of a group: its lanes take them in turn.
  AWQ_HOST_DEVICE std::int32_t group_begin(std::int32_t group) const {
    return static_cast<std::int32_t>(static_cast<std::int64_t>(row_.count()) * group / Block::kGroups);
  }

  /// f(bits of the share, id) for the ids of one thread.
  template <class F>
  AWQ_HOST_DEVICE void for_ids(std::int32_t thread, F f) const {
    const std::int32_t group = thread / Block::kLanes;
    const std::int32_t end = group_begin(group + 1);
    for (std::int32_t i = group_begin(group) + thread % Block::kLanes; i < end; i += Block::kLanes) f(row_.bits(i), i);
  }

  AWQ_HOST_DEVICE std::uint64_t total_of(const DrawCut& cut) {
    block_.each([&](std::int32_t thread) {
      std::uint64_t sum = 0;
      for_ids(thread, [&](std::uint32_t bits, std::int32_t i) {
        if (cut.keeps(bits, i)) sum += share_weight(bits);
      });
      s_.partial[thread] = sum;
      if (thread == 0) s_.total = 0;
    });
    // A sum for each group, then one of those.
    block_.each([&](std::int32_t thread) {
      if (thread % Block::kLanes != 0) return;
      std::uint64_t sum = 0;
      for (int lane = 0; lane < Block::kLanes; ++lane) sum += s_.partial[thread + lane];
      block_.add(s_.total, sum);
    });
    return s_.total;
  }

  /// The first id at which the sum of weight(bits, id) over it and the ids before is more than target(total).
  template <class Weight, class Target>
  AWQ_HOST_DEVICE std::int32_t first_beyond(Weight weight, Target target) {
    block_.each([&](std::int32_t thread) {
      std::uint64_t sum = 0;
      for_ids(thread, [&](std::uint32_t bits, std::int32_t i) { sum += weight(bits, i); });
      s_.partial[thread] = sum;
    });
    block_.each([&](std::int32_t thread) {
      if (thread % Block::kLanes != 0) return;
      for (int lane = 1; lane < Block::kLanes; ++lane) s_.partial[thread] += s_.partial[thread + lane];
    });
    block_.each([&](std::int32_t thread) {
      if (thread != 0) return;
      std::uint64_t total = 0;
      for (int group = 0; group < Block::kGroups; ++group) total += s_.partial[group * Block::kLanes];
      const std::uint64_t goal = target(total);
      std::uint64_t before = 0;
      int group = 0;
      while (group + 1 < Block::kGroups && before + s_.partial[group * Block::kLanes] <= goal) {
        before += s_.partial[group++ * Block::kLanes];
      }
      s_.found = group;
      s_.before = goal - before;  // what is left inside the group
    });
    const std::int32_t begin = group_begin(s_.found);
    const std::int32_t end = group_begin(s_.found + 1);
    const std::uint64_t left = s_.before;
    // Now every thread takes neighbours.
    const std::int32_t each = (end - begin + kThreads - 1) / kThreads;
    const auto begin_of = [&](std::int32_t thread) {
      const std::int64_t at = begin + static_cast<std::int64_t>(each) * thread;
      return at < end ? static_cast<std::int32_t>(at) : end;
    };
    block_.each([&](std::int32_t thread) {
      std::uint64_t sum = 0;
      for (std::int32_t i = begin_of(thread); i < begin_of(thread + 1); ++i) sum += weight(row_.bits(i), i);
      s_.partial[thread] = sum;
    });
    block_.each([&](std::int32_t thread) {
      if (thread != 0) return;
      std::uint64_t before = 0;
      std::int32_t owner = 0;
      while (owner + 1 < kThreads && before + s_.partial[owner] <= left) before += s_.partial[owner++];
      s_.found = -1;
      for (std::int32_t i = begin_of(owner); i < begin_of(owner + 1); ++i) {
        before += weight(row_.bits(i), i);
        if (before > left) {
          s_.found = i;
          break;
        }
      }
    });
    return s_.found;
  }

  /// Where the ids that `cut` keeps, from the likeliest on, reach `most` of them or weigh `enough`; `cut` if they never
  /// do.
  AWQ_HOST_DEVICE DrawCut find_cut(const DrawCut& cut, std::uint64_t most, std::uint64_t enough) {
    std::uint64_t count = 0, weight = 0;  // of all that is likelier than the bucket
    std::uint32_t prefix = 0;             // of the bits that are known
    std::uint64_t in_bucket = 0;
    for (int level = 0; level < kDrawLevels; ++level) {
      const std::int32_t buckets = level == 0 ? kDrawBuckets : 1 << (draw_shift(level - 1) - draw_shift(level));
      fill_buckets(cut, level, prefix, buckets);
      const std::int32_t bucket = find_bucket(buckets, count, weight, most, enough);
      if (bucket < 0) return cut;
      count = s_.count;
      weight = s_.before;
      in_bucket = s_.counts[bucket];
      prefix = level == 0
                   ? static_cast<std::uint32_t>(bucket)
                   : (prefix << (draw_shift(level - 1) - draw_shift(level))) + static_cast<std::uint32_t>(bucket);
      block_.each([](std::int32_t) {});  // all have read before the next level writes
      if (level == 0 && cut.id == kLastDrawnId) {
        row_.narrow(kSmallestShareBits + (prefix << draw_shift(0)));
      }
    }
    const std::uint32_t bits = kSmallestShareBits + prefix;
    const std::uint64_t one = share_weight(bits);
    std::uint64_t wanted = most - count;
    const std::uint64_t by_weight = (enough - weight + one - 1) / one;
    if (enough != kNoDrawLimit && by_weight < wanted) wanted = by_weight;
    if (wanted >= in_bucket) return {bits, bits == cut.bits ? cut.id : kLastDrawnId};
    const std::int32_t last = first_beyond(
        [&](std::uint32_t other, std::int32_t i) {
          return static_cast<std::uint64_t>(other == bits && cut.keeps(other, i) ? 1 : 0);
        },
        [&](std::uint64_t) { return wanted == 0 ? 0 : wanted - 1; });
    return {bits, last};
  }

  AWQ_HOST_DEVICE void fill_buckets(const DrawCut& cut, int level, std::uint32_t prefix, std::int32_t buckets) {
    block_.each([&](std::int32_t thread) {
      for (std::int32_t b = thread; b < buckets; b += kThreads) {
        s_.counts[b] = 0;
        s_.sums[b] = 0;
      }
    });
    const int shift = draw_shift(level);
    const int width = level == 0 ? 0 : draw_shift(level - 1) - shift;
    block_.each([&](std::int32_t thread) {
      for_ids(thread, [&](std::uint32_t bits, std::int32_t i) {
        if (!cut.keeps(bits, i)) return;
        const std::uint32_t above = (bits - kSmallestShareBits) >> shift;
        if (level > 0 && (above >> width) != prefix) return;
        const std::uint32_t bucket = level == 0 ? above : above & ((1U << width) - 1);
        block_.add(s_.counts[bucket], 1U);
        block_.add(s_.sums[bucket], share_weight(bits));
      });
    });
  }

  /// The bucket in which a limit is reached, -1: none; s_.count and s_.before then hold what is likelier than it.
  AWQ_HOST_DEVICE std::int32_t find_bucket(std::int32_t buckets, std::uint64_t count, std::uint64_t weight,
                                           std::uint64_t most, std::uint64_t enough) {
    const std::int32_t each = (buckets + kDrawChunks - 1) / kDrawChunks;
    const auto chunk_end = [&](std::int32_t chunk) {
      return (chunk + 1) * each < buckets ? (chunk + 1) * each : buckets;
    };
    block_.each([&](std::int32_t thread) {
      for (std::int32_t chunk = thread; chunk < kDrawChunks; chunk += kThreads) {
        std::uint64_t sum = 0;
        std::uint32_t members = 0;
        for (std::int32_t b = chunk * each; b < chunk_end(chunk); ++b) {
          sum += s_.sums[b];
          members += s_.counts[b];
        }
        s_.chunk_sums[chunk] = sum;
        s_.chunk_counts[chunk] = members;
      }
    });
    block_.each([&](std::int32_t thread) {
      if (thread != 0) return;
      std::uint64_t members = count, sum = weight;
      const auto reached = [&](std::uint64_t more_members, std::uint64_t more) {
        return members + more_members >= most || sum + more >= enough;
      };
      s_.found = -1;
      for (std::int32_t chunk = kDrawChunks - 1; chunk >= 0 && s_.found < 0; --chunk) {
        if (s_.chunk_counts[chunk] == 0) continue;
        if (!reached(s_.chunk_counts[chunk], s_.chunk_sums[chunk])) {
          members += s_.chunk_counts[chunk];
          sum += s_.chunk_sums[chunk];
          continue;
        }
        std::int32_t b = chunk_end(chunk) - 1;
        for (; s_.counts[b] == 0 || !reached(s_.counts[b], s_.sums[b]); --b) {
          members += s_.counts[b];
          sum += s_.sums[b];
        }
        s_.found = b;
      }
      s_.count = members;
      s_.before = sum;
    });
    return s_.found;
  }

  Block block_;
  Scratch& s_;
  Row& row_;
};

}  // namespace awq::kernels
