#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"
#include "text/string_table.h"

namespace awq::text {

/// What two adjacent symbols become. The pair with the smallest rank goes first, the leftmost of equal ones.
struct MergeRule {
  std::uint32_t rank = std::numeric_limits<std::uint32_t>::max();
  std::int32_t result = -1;
};
inline constexpr std::uint32_t kNoMerge = std::numeric_limits<std::uint32_t>::max();

using MergeTable = PairTable<MergeRule>;

/// Remembers, for symbols that may not stay in a result, the pair that they were last made of.
struct SplitLog {
  const std::vector<bool>* watched = nullptr;  ///< by symbol
  std::unordered_map<std::int32_t, std::pair<std::int32_t, std::int32_t>> parts;
};

/// A symbol of a long word: one node of a linked list, with the rank of merging it with its right neighbour.
struct MergeNode {
  std::int32_t symbol = 0;
  std::uint32_t rank = 0;
  std::uint32_t next = 0;
  std::uint32_t prev = 0;
};

/// Memory that one encode call reuses for all its words.
struct MergeScratch {
  std::vector<std::int32_t> symbols;
  std::vector<MergeRule> rules;  ///< of the pairs (i, i + 1) of a short word
  // For long words. Huge pages, because a word of a megabyte would spend a good part of its time in page faults.
  AlignedBuffer<MergeNode> nodes;
  AlignedBuffer<std::uint64_t> sorted;  ///< candidates for merging: rank << 32 | position
  AlignedBuffer<std::uint64_t> heap;    ///< same
};

/// Merges scratch.symbols in place until no pair of neighbours has a rule. n symbols take O(n log n).
/// Requires fewer than 2^32 - 1 symbols.
void merge_symbols(const MergeTable& table, MergeScratch& scratch, SplitLog* log);

}  // namespace awq::text
