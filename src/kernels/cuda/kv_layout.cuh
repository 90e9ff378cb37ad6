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

/// Halves from block 0 to the keys of a head in a block; its values follow kBlockTokens * head_dim behind.
__host__ __device__ constexpr std::int64_t kv_page(std::int64_t block, int num_kv_heads, int kv_head, int head_dim) {
  return (block * num_kv_heads + kv_head) * 2 * kBlockTokens * head_dim;
}

}  // namespace awq::kernels::cuda
