#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "engine/block_manager.h"
#include "engine/sequence.h"

namespace awq::engine {

struct SchedulerOptions {
  std::int64_t max_num_seqs = 0;
  std::int64_t max_num_batched_tokens = 0;
  bool prefix_caching = true;
};

/// A sequence's share of a step: tokens [computed, computed + count) of its ids, then `drafts` of its draft.
struct ScheduledSlice {
  Sequence* sequence = nullptr;
  std::int64_t count = 0;
  std::int64_t drafts = 0;
};

struct SchedulerCounters {
  std::uint64_t preemptions = 0;
  std::uint64_t prefix_queries = 0;  ///< tokens
  std::uint64_t prefix_hits = 0;
};

/// Hands out the tokens of each step. There are no phases: a sequence has tokens whose keys and values are missing,
/// one when it decodes, many while its prompt (or, after preemption, its text) is computed.
///
/// A step goes to running sequences first (decoding ones, then the missing parts of others, oldest first), then
/// to waiting ones, oldest first, until tokens, sequences or blocks run out. When a running sequence finds no block,
/// the youngest running one gives up all of its blocks and waits again, its text kept: it is computed anew later. The
/// oldest sequence can always take what it needs, so every sequence becomes the oldest and ends.
///
/// A paused sequence gets no tokens. It keeps its blocks until somebody else needs them, takes nobody's place, and goes
/// on when it is resumed: with its blocks, or like a preempted one without them.
///
/// Plain code: no threads, clock or randomness. Sequences belong to the caller.
class Scheduler {
 public:
  /// `blocks` has to hold the longest sequence that is ever added.
  Scheduler(const SchedulerOptions& options, BlockManager& blocks);

  /// Puts a sequence into the waiting queue, by priority and arrival.
  void add(Sequence& sequence);
  /// Takes a sequence out for good and frees its blocks.
  void remove(Sequence& sequence);
  /// Of a sequence that was added; twice is as once.
  void pause(Sequence& sequence);
  void resume(Sequence& sequence);
  /// The next step; empty when nothing can run. Valid until the next call.
  std::span<const ScheduledSlice> schedule();
  /// After the step: keys and values of `tokens` more of its ids are in the blocks of `sequence`.
  void advance(Sequence& sequence, std::int64_t tokens);

  std::int64_t running_count() const { return static_cast<std::int64_t>(running_.size()); }
  std::int64_t waiting_count() const { return static_cast<std::int64_t>(waiting_.size()); }
  std::int64_t paused_count() const { return paused_; }
  const SchedulerCounters& counters() const { return counters_; }
  std::span<Sequence* const> running() const { return running_; }

 private:
  /// Lower priority numbers first, then order of arrival, then choices in order.
  struct Older {
    bool operator()(const Sequence* a, const Sequence* b) const;
  };
  using Queue = std::set<Sequence*, Older>;

  void leave(Sequence& sequence);
  void start(Sequence& sequence);
  void run(Sequence& sequence, std::int64_t& budget);
  void admit(std::int64_t budget);
  bool grow(Sequence& sequence, std::int64_t tokens, std::int64_t& budget);
  void preempt(Sequence& sequence, std::int64_t& budget);
  bool take_from_paused();
  void find_prefix(Sequence& sequence);
  void give_up_blocks(Sequence& sequence);
  bool has_to_follow(const Sequence& sequence) const;
  std::int64_t shared_blocks(const Sequence& sequence) const;
  std::int64_t missing_blocks(const Sequence& sequence, std::int64_t tokens) const;

  SchedulerOptions options_;
  BlockManager& blocks_;
  std::vector<Sequence*> running_;  ///< oldest first, as the others
  Queue waiting_;                   ///< hundreds of thousands perhaps, any of which may leave
  Queue lenders_;                   ///< paused ones that have blocks
  std::int64_t paused_ = 0;         ///< with blocks or without
  std::vector<ScheduledSlice> slices_;
  std::int64_t draft_budget_ = 0;
  bool preempted_ = false;  ///< in this step
  SchedulerCounters counters_;
};

}  // namespace awq::engine
