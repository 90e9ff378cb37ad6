#pragma once

#include <cstdint>
#include <span>

#include "base/aligned_buffer.h"
#include "kernels/api/attention.h"

namespace awq::ops {

/// One layer's keys and values of all blocks of a pool: [blocks][num_kv_heads][layout.head_bytes()].
struct KvView {
  kernels::KvLayout layout;
  std::int64_t num_kv_heads = 0;
  std::byte* data = nullptr;

  std::int64_t block_bytes() const { return num_kv_heads * layout.head_bytes(); }
  std::byte* head(std::int64_t block, std::int64_t kv_head) const {
    return data + block * block_bytes() + kv_head * layout.head_bytes();
  }
};

/// Writes keys and values [count, num_kv_heads * head_dim] of one sequence's tokens past .. past + count - 1 into its
/// blocks.
void store_kv(const KvView& cache, const std::int32_t* blocks, std::int64_t past, std::int64_t count, const float* keys,
              const float* values);

/// One sequence of a flat batch: its new queries, and where all of its keys and values are.
struct AttentionSequence {
  const float* q = nullptr;  ///< [query_count, num_heads * head_dim], rotated
  float* out = nullptr;      ///< [query_count, num_heads * head_dim]
  KvView cache;
  const std::int32_t* blocks = nullptr;  ///< token t lies in block blocks[t / kKvBlockTokens]
  std::int64_t query_count = 0;
  std::int64_t past = 0;  ///< tokens before the first query; the keys are those of past + query_count tokens
};

struct AttentionShape {
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;  ///< head h reads kv head h / (num_heads / num_kv_heads)
  std::int64_t head_dim = 0;
  float scale = 0;          ///< of the scores, usually head_dim^-0.5
  std::int64_t window = 0;  ///< keys a query sees, itself included; 0: all before it
};

/// Scratch memory of attention(): grows to the largest batch and is then reused.
class AttentionScratch {
 public:
  struct Task {
    const AttentionSequence* sequence;
    std::int64_t kv_head, head, heads;  ///< query heads [head, head + heads)
    std::int64_t query, queries;        ///< queries [query, query + queries)
    std::int64_t first_part, parts;     ///< of kPartKeys keys each
    std::int64_t slot;                  ///< of the first part's result, when parts run apart
  };
  /// Allocates what batches of up to `tokens` queries of `sequences` sequences of up to `length` keys need.
  void reserve(std::int64_t tokens, std::int64_t sequences, std::int64_t length, const AttentionShape& shape);

 private:
  friend void attention(std::span<const AttentionSequence>, const AttentionShape&, AttentionScratch&);
  AlignedBuffer<Task> tasks_;
  AlignedBuffer<std::int64_t> part_tasks_;  ///< task of each part that runs apart
  AlignedBuffer<float> partial_;
  AlignedBuffer<float> per_thread_;
};

/// Causal softmax attention over blocks of keys and values, in binary32 or with products of bf16 (rounds_to_bf16()).
/// Heads, tiles of queries and, when these are few, parts of the keys run in parallel. The result of a query depends on
/// its sequence alone: not on the other sequences, on how many queries came with it, on threads or, in binary32, on the
/// instruction set (kernels/api/attention.h).
void attention(std::span<const AttentionSequence> sequences, const AttentionShape& shape, AttentionScratch& scratch);

}  // namespace awq::ops
