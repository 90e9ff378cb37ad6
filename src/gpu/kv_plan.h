#pragma once

#include <cstdint>

namespace awq::gpu {

/// What decides how many blocks of keys and values a device holds.
struct KvPlan {
  std::uint64_t block_bytes = 0;    ///< of one block in all layers
  std::uint64_t total_bytes = 0;    ///< memory of the device
  std::uint64_t free_bytes = 0;     ///< of it, with weights and scratch already there
  double memory_utilization = 0.9;  ///< share of the device's memory that may be in use, everything counted
  std::uint64_t cache_bytes = 0;    ///< asked for; 0: what memory_utilization leaves
  std::int64_t max_model_len = 0;   ///< tokens of one sequence
  std::int64_t max_num_seqs = 1;
  bool fill_memory = true;   ///< more than max_num_seqs full sequences, for prefixes that come again
  bool allow_short = false;  ///< fewer than one full sequence, if that is what there is
};

/// Blocks to be used; one more is allocated, for padding. Throws kOutOfMemory when a sequence of max_model_len does
/// not fit (the message names the longest that does), kInvalidArgument for a utilization outside of (0, 1].
std::int64_t plan_kv_blocks(const KvPlan& plan);

}  // namespace awq::gpu
