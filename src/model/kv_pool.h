#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/config.h"
#include "ops/attention.h"
#include "ops/kv_dtype.h"

namespace awq::model {

/// Keys and values of all layers in blocks of kKvBlockTokens tokens, allocated and touched once. Block b of every layer
/// belongs together: a sequence has one block table for all layers.
class KvPool {
 public:
  KvPool() = default;
  /// Throws kOutOfMemory.
  KvPool(const ModelConfig& config, ops::KvDtype dtype, std::int64_t block_count);
  /// Bytes of one block in all layers.
  static std::uint64_t block_bytes(const ModelConfig& config, ops::KvDtype dtype);

  std::int64_t block_count() const { return block_count_; }
  std::uint64_t bytes() const { return memory_.size(); }
  ops::KvView layer(std::int64_t i) const;

 private:
  kernels::KvLayout layout_;
  std::int64_t num_kv_heads_ = 0;
  std::int64_t block_count_ = 0;
  std::uint64_t layer_bytes_ = 0;
  AlignedBuffer<std::byte> memory_;
};

/// Keys and values of one sequence in binary32, grown in steps as the sequence grows: for callers that have no pool.
/// Keys are stored rotated: a cache serves as long as the frequencies stay (see cache_is_valid()).
class KvCache {
 public:
  KvCache(const ModelConfig& config, std::int64_t initial_capacity);
  std::int64_t length() const { return length_; }
  void set_length(std::int64_t length) { length_ = length; }
  /// Makes room for `tokens` positions in every layer.
  void reserve(std::int64_t tokens);
  std::int64_t capacity() const { return pool_.block_count() * kernels::kKvBlockTokens; }
  ops::KvView layer(std::int64_t i) const { return pool_.layer(i); }
  const std::int32_t* blocks() const { return blocks_.data(); }

 private:
  ModelConfig config_;
  std::int64_t length_ = 0;
  KvPool pool_;
  std::vector<std::int32_t> blocks_;  ///< 0, 1, 2 ...
};

/// False when a sequence that grows to `length` tokens changes the rotary frequencies of its earlier tokens (dynamic
/// NTK past the trained context): it has to be run again from its start, without a cache.
bool cache_is_valid(const ModelConfig& config, std::int64_t length);

}  // namespace awq::model
