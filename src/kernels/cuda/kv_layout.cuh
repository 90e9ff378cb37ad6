#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/api/cuda_token.h"

/// Where things lie in the cache of keys and values, for the kernel that writes it and those that read it.
namespace awq::kernels::cuda {

inline constexpr int kBlockTokens = 16;

/// Where element `dim` of token `slot` (0 .. 15) lies in the keys or values of one block and head, in halves. Chunks of
/// eight elements change places inside 64 elements, so that one chunk of eight tokens covers all banks of shared
/// memory; widths that the tensor cores do not serve stay plain.
__host__ __device__ constexpr int kv_element(int head_dim, int slot, int dim) {
  if (head_dim % 64 != 0) return slot * head_dim + dim;
  const int chunk = (dim / 8) ^ (slot % 8);
  return slot * head_dim + chunk * 8 + dim % 8;
}

/// The same of codes, in bytes. A chunk has 16 elements, and elements that are eight apart are neighbours in it: a word
/// of two such pairs, its even and its odd bytes widened, is what a lane gives the tensor cores of either half of the
/// chunk, in the places where halves would have it. Chunks change places by `kv_code_turn`.
__host__ __device__ constexpr int kv_code_turn(int head_dim, int slot) {
  return head_dim % 128 == 0 ? slot % 8 : slot / 2 % 4;
}
__host__ __device__ constexpr int kv_code(int head_dim, int slot, int dim) {
  if (head_dim % 64 != 0) return slot * head_dim + dim;
  const int chunk = (dim / 16) ^ kv_code_turn(head_dim, slot);
  return slot * head_dim + chunk * 16 + dim % 8 * 2 + dim / 8 % 2;
}

/// Bytes of the keys, or of the values, of one block and head, without scales; the values follow the keys.
__host__ __device__ constexpr int kv_side_bytes(CacheType type, int head_dim) {
  return kBlockTokens * head_dim * (type == CacheType::kHalf ? 2 : 1);
}
/// kv_head_bytes(), for devices as well.
__host__ __device__ constexpr std::int64_t kv_page_bytes(CacheType type, int head_dim) {
  return 2 * kv_side_bytes(type, head_dim) + (type == CacheType::kHalf ? 0 : 4 * kBlockTokens);
}
static_assert(kv_page_bytes(CacheType::kHalf, 80) == kv_head_bytes(CacheType::kHalf, 80));
static_assert(kv_page_bytes(CacheType::kE4M3, 80) == kv_head_bytes(CacheType::kE4M3, 80));
static_assert(kv_page_bytes(CacheType::kInt8, 80) == kv_head_bytes(CacheType::kInt8, 80));
/// Where the scale of a token's keys, or values, begins in a block and head, in bytes.
__host__ __device__ constexpr int kv_scale_offset(int head_dim, bool is_value, int slot) {
  return 2 * kBlockTokens * head_dim + ((is_value ? kBlockTokens : 0) + slot) * 2;
}
/// Bytes from block 0 to the keys of a head in a block.
__host__ __device__ constexpr std::int64_t kv_page(CacheType type, std::int64_t block, int num_kv_heads, int kv_head,
                                                   int head_dim) {
  return (block * num_kv_heads + kv_head) * kv_page_bytes(type, head_dim);
}

}  // namespace awq::kernels::cuda
