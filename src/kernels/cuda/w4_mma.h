#pragma once

#include <cstdint>

#include "kernels/cuda/w4_stream.h"

/// The kernel that takes every problem on every device from compute capability 7.5 on: a block holds 128 rows of the
/// weight (a strip) against 8, 16, 32 or 64 tokens, and both pass through a ring in shared memory, 128 inputs a stage.
namespace awq::kernels::cuda {

inline constexpr int kMmaWarps = 8;  ///< of 16 rows each

struct MmaArgs {
  const std::uint8_t* weight = nullptr;
  const std::uint16_t* x = nullptr;  ///< [m, k]
  std::uint16_t* y = nullptr;        ///< [m, n]
  const float* bias = nullptr;
  float* partial = nullptr;          ///< [tiles, leaves, token blocks of 8, threads, 4] sums of leaves, with parts > 1
  std::uint32_t* arrived = nullptr;  ///< [tiles] blocks that have written theirs, zero between launches
  std::int32_t n = 0, k = 0, m = 0;
  std::int32_t steps = 0, leaves = 0;
  std::int32_t strips = 0, token_tiles = 0;
  std::int32_t parts = 1;   ///< blocks (grid.z) that share the leaves of a tile; divides `leaves`
  std::int32_t stages = 2;  ///< of the ring
};

/// Shared memory of a block. Tokens of a stage: two blocks of 64 inputs, each in rows of 128 bytes by token, whose
/// 16-byte pieces are swizzled by the token; then the eight slabs of the strip as they lie in the stream.
struct MmaMemory {
  std::int32_t tokens = 0, group_size = 0;
  AWQ_HOST_DEVICE constexpr std::int32_t x_bytes() const { return tokens * 256; }
  AWQ_HOST_DEVICE constexpr std::int32_t slab_bytes() const { return (1024 + 40 * (128 / group_size) + 15) / 16 * 16; }
  AWQ_HOST_DEVICE constexpr std::int32_t weight_bytes() const { return kMmaWarps * slab_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t stage_bytes() const { return x_bytes() + weight_bytes(); }
  /// Offset of 16 bytes, `piece` of 16 of a token's 128 inputs.
  AWQ_HOST_DEVICE constexpr std::int32_t x_offset(std::int32_t token, std::int32_t piece) const {
    return (piece >> 3) * tokens * 128 + token * 128 + (((piece & 7) ^ (token & 7)) << 4);
  }
  /// Results take the ring's place at the end: rows of 128 halves by token, padded against bank conflicts.
  static constexpr std::int32_t kResultPitch = 272;
};

/// Token tiles that neighbouring blocks work through for one strip before the next strip.
inline constexpr std::int32_t kMmaTokenTilesTogether = 16;

struct MmaTile {
  std::int32_t strip = 0, token_tile = 0;
};
/// Tile `i` in the order of launch: the blocks that run at one time share strips and tokens in the L2 cache.
AWQ_HOST_DEVICE constexpr MmaTile mma_tile(std::int32_t i, std::int32_t strips, std::int32_t token_tiles) {
  const std::int32_t group = i / (kMmaTokenTilesTogether * strips);
  const std::int32_t inside = i - group * kMmaTokenTilesTogether * strips;
  const std::int32_t rest = token_tiles - group * kMmaTokenTilesTogether;
  const std::int32_t width = rest < kMmaTokenTilesTogether ? rest : kMmaTokenTilesTogether;
  return {inside / width, group * kMmaTokenTilesTogether + inside % width};
}

}  // namespace awq::kernels::cuda
