#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace awq::engine {

/// Identity of a prefix that was published: the chain of its blocks' tokens under one salt. 0: the empty prefix.
using PrefixId = std::uint64_t;

/// Key of the hash that finds cached blocks; random per process, so that clients cannot make blocks collide.
struct HashKey {
  std::uint64_t low = 0, high = 0;
};

/// Who holds the blocks of the KV pool, and which of them can be found again by their tokens.
///
///   in use: references > 0            one per sequence that lists the block in its table
///   free:   references == 0           in the queue, least recently released first; a published block keeps its entry
///                                     until it is handed out again, so "free" and "cached" are not exclusive
///
/// Only full blocks are published. An entry is found by a keyed hash of (id of the prefix before it, its tokens) and
/// taken only when both are equal, so a collision can cost time and never give a sequence somebody else's keys. Plain
/// data: no threads, no clock, no randomness; nothing is allocated after construction.
class BlockManager {
 public:
  BlockManager(std::int64_t block_count, std::int64_t block_size, HashKey key);

  std::int64_t block_count() const { return static_cast<std::int64_t>(references_.size()); }
  std::int64_t block_size() const { return block_size_; }
  std::int64_t free_count() const { return free_count_; }

  /// Takes the block that has been free longest and forgets what was cached in it; -1 when none is free.
  std::int32_t allocate();
  /// One more sequence lists the block.
  void add_reference(std::int32_t block);
  /// Gives up a sequence's references, the last block first, so that the end of a text is forgotten before its start.
  void release(std::span<const std::int32_t> blocks);

  struct Found {
    std::int32_t block = -1;
    PrefixId prefix = 0;  ///< of the text up to and including this block
  };
  /// The block that continues prefix `before` with `tokens` (a full block), or {-1, 0}. Takes no reference.
  Found find(PrefixId before, std::string_view salt, std::span<const std::int32_t> tokens) const;
  /// Makes a full block findable; returns the id of the prefix that it ends. Where an equal block is published already,
  /// that one stays the one to be found and its id is returned.
  PrefixId publish(std::int32_t block, PrefixId before, std::string_view salt, std::span<const std::int32_t> tokens);

  std::int32_t references(std::int32_t block) const { return references_[static_cast<std::size_t>(block)]; }
  /// Throws kInternal when counts, queue and entries contradict each other. For tests and for the end of a drain.
  void check() const;

 private:
  std::uint64_t hash(PrefixId before, std::string_view salt, std::span<const std::int32_t> tokens) const;
  bool equal(std::int32_t block, PrefixId before, std::string_view salt, std::span<const std::int32_t> tokens) const;
  void forget(std::int32_t block);
  void append_free(std::int32_t block);
  void remove_free(std::int32_t block);

  struct Entry {
    PrefixId id = 0;  ///< 0: not published
    PrefixId before = 0;
    std::uint64_t hash = 0;
    std::int32_t next = -1;  ///< in the same bucket
    std::string salt;        ///< of blocks that begin a text
  };

  std::int64_t block_size_;
  HashKey key_;
  std::vector<std::int32_t> references_;
  std::vector<std::int32_t> previous_free_, next_free_;  ///< [block_count + 1]; the last one is the queue's anchor
  std::int64_t free_count_ = 0;
  std::vector<Entry> entries_;
  std::vector<std::int32_t> tokens_;   ///< [block_count, block_size] of published blocks
  std::vector<std::int32_t> buckets_;  ///< a power of two of them; first block of each or -1
  PrefixId last_id_ = 0;
};

}  // namespace awq::engine
