#pragma once

#include <cstdint>
#include <span>

namespace awq::ops {

/// One sequence of a flat batch: its new queries and all of its keys and values so far.
struct AttentionSequence {
  const float* q = nullptr;       ///< [query_count, num_heads * head_dim], rotated
  const float* keys = nullptr;    ///< [key_count, num_kv_heads * head_dim], rotated
  const float* values = nullptr;  ///< [key_count, num_kv_heads * head_dim]
  float* out = nullptr;           ///< [query_count, num_heads * head_dim]
  std::int64_t query_count = 0;   ///< the queries are the last query_count of key_count positions
  std::int64_t key_count = 0;
};

struct AttentionShape {
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;  ///< head h reads kv head h / (num_heads / num_kv_heads)
  std::int64_t head_dim = 0;
  float scale = 0;          ///< of the scores, usually head_dim^-0.5
  std::int64_t window = 0;  ///< keys a query sees, itself included; 0: all before it
};

/// Causal softmax attention in binary32. Heads and blocks of queries run in parallel.
void attention(std::span<const AttentionSequence> sequences, const AttentionShape& shape);

}  // namespace awq::ops
