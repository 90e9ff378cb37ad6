#include "text/merge.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <utility>

#include "base/check.h"

namespace awq::text {
namespace {

/// Up to here, looking at all pairs for each merge beats a heap. Most words have fewer than ten symbols.
constexpr std::size_t kShortWord = 40;
constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

MergeRule rule_of(const MergeTable& table, std::int32_t left, std::int32_t right, SplitLog* log) {
  const MergeRule* rule = table.find(static_cast<std::uint32_t>(left), static_cast<std::uint32_t>(right));
  if (rule == nullptr) return {};
  if (log != nullptr && (*log->watched)[static_cast<std::size_t>(rule->result)]) {
    log->parts[rule->result] = {left, right};
  }
  return *rule;
}

void merge_short(const MergeTable& table, MergeScratch& scratch, SplitLog* log) {
  std::vector<std::int32_t>& symbols = scratch.symbols;
  std::vector<MergeRule>& rules = scratch.rules;
  std::size_t count = symbols.size();
  rules.resize(count);
  for (std::size_t i = 0; i + 1 < count; ++i) rules[i] = rule_of(table, symbols[i], symbols[i + 1], log);
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (rules[i].rank < rules[best].rank) best = i;
    }
    if (rules[best].rank == kNoMerge) break;
    symbols[best] = rules[best].result;
    for (std::size_t i = best + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      rules[i] = rules[i + 1];
    }
    --count;
    if (best > 0) rules[best - 1] = rule_of(table, symbols[best - 1], symbols[best], log);
    if (best + 1 < count) rules[best] = rule_of(table, symbols[best], symbols[best + 1], log);
  }
  symbols.resize(count);
}

/// The candidates in order. Most sit in a sorted array that is read front to back; the ones that merging adds go to a
/// heap, which becomes the next sorted array when the old one runs out. Next to one big heap that keeps memory access
/// sequential, so that a word of a million characters takes hardly more than twice the time of half of it.
class CandidateQueue {
 public:
  /// `capacity`: candidates that can ever be pushed, and the most that can be pushed first.
  CandidateQueue(MergeScratch& scratch, std::size_t capacity) : sorted_(scratch.sorted), heap_(scratch.heap) {
    sorted_.ensure(capacity);
    heap_.ensure(capacity);
  }

  /// Before the first pop(): adds to the sorted array, in any order.
  void push_first(std::uint32_t rank, std::size_t at) { sorted_[sorted_size_++] = entry_of(rank, at); }
  void sort() {
    if (!std::is_sorted(sorted_.data(), sorted_.data() + sorted_size_)) {
      std::sort(sorted_.data(), sorted_.data() + sorted_size_);
    }
  }

  void push(std::uint32_t rank, std::size_t at) {
    AWQ_CHECK(heap_size_ < heap_.size());
    heap_[heap_size_++] = entry_of(rank, at);
    std::push_heap(heap_.data(), heap_.data() + heap_size_, std::greater<>());
  }

  /// False at the end.
  bool pop(std::uint64_t& entry) {
    if (cursor_ == sorted_size_) {
      if (heap_size_ == 0) return false;
      sorted_.swap(heap_);
      sorted_size_ = std::exchange(heap_size_, 0);
      cursor_ = 0;
      sort();
    }
    if (heap_size_ == 0 || sorted_[cursor_] <= heap_[0]) {
      entry = sorted_[cursor_++];
      return true;
    }
    entry = heap_[0];
    std::pop_heap(heap_.data(), heap_.data() + heap_size_, std::greater<>());
    --heap_size_;
    return true;
  }

 private:
  static std::uint64_t entry_of(std::uint32_t rank, std::size_t at) {
    return (static_cast<std::uint64_t>(rank) << 32) | at;
  }

  AlignedBuffer<std::uint64_t>& sorted_;
  AlignedBuffer<std::uint64_t>& heap_;
  std::size_t sorted_size_ = 0;
  std::size_t heap_size_ = 0;
  std::size_t cursor_ = 0;
};

/// Candidates over a linked list. A candidate is stale when the pair at its position has another rank by now; a merge
/// frees its right position for good, so no position ever comes back.
void merge_long(const MergeTable& table, MergeScratch& scratch, SplitLog* log) {
  std::vector<std::int32_t>& symbols = scratch.symbols;
  AlignedBuffer<MergeNode>& nodes = scratch.nodes;
  const std::size_t count = symbols.size();
  AWQ_CHECK(count < kNone);
  const std::size_t capacity = std::bit_ceil(std::max(count, std::size_t{256}));
  nodes.ensure(capacity);
  // Every merge frees a symbol and pushes at most two candidates.
  CandidateQueue queue(scratch, 2 * capacity);
  for (std::size_t i = 0; i < count; ++i) {
    const bool is_last = i + 1 == count;
    nodes[i] = {.symbol = symbols[i],
                .rank = is_last ? kNoMerge : rule_of(table, symbols[i], symbols[i + 1], log).rank,
                .next = is_last ? kNone : static_cast<std::uint32_t>(i + 1),
                .prev = i == 0 ? kNone : static_cast<std::uint32_t>(i - 1)};
    if (nodes[i].rank != kNoMerge) queue.push_first(nodes[i].rank, i);
  }
  queue.sort();

  const auto renew = [&](std::uint32_t at) {
    MergeNode& left = nodes[at];
    left.rank = left.next == kNone ? kNoMerge : rule_of(table, left.symbol, nodes[left.next].symbol, log).rank;
    if (left.rank != kNoMerge) queue.push(left.rank, at);
  };
  for (std::uint64_t top = 0; queue.pop(top);) {
    const std::uint32_t at = static_cast<std::uint32_t>(top);
    MergeNode& left = nodes[at];
    if (left.rank != static_cast<std::uint32_t>(top >> 32)) continue;
    MergeNode& right = nodes[left.next];
    left.symbol = rule_of(table, left.symbol, right.symbol, nullptr).result;
    left.next = right.next;
    right.rank = kNoMerge;
    if (right.next != kNone) nodes[right.next].prev = at;
    if (left.prev != kNone) renew(left.prev);
    renew(at);
  }
  symbols.clear();
  for (std::uint32_t at = 0; at != kNone; at = nodes[at].next) symbols.push_back(nodes[at].symbol);
}

}  // namespace

void merge_symbols(const MergeTable& table, MergeScratch& scratch, SplitLog* log) {
  if (scratch.symbols.size() < 2) return;
  if (scratch.symbols.size() <= kShortWord) {
    merge_short(table, scratch, log);
  } else {
    merge_long(table, scratch, log);
  }
}

}  // namespace awq::text
