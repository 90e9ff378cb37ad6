#pragma once

#include <cstdint>

#include "kernels/cuda/w4_small.h"

/// Who computes what in a chain of linears (cuda_chain.h). Without CUDA's headers: tests on a processor read it too.
///
/// Every block takes a run of tiles of 16 rows of each linear; its warps take them in rounds, one leaf of one tile
/// each. Where gates and ups belong together a pair of tiles counts as two neighbouring ones.
namespace awq::kernels::cuda {

inline constexpr int kChainMostWarps = 24;  ///< of a block, by registers
inline constexpr int kChainMostLinks = 4;

/// What a linear reads its tokens from, and what becomes of its results.
enum class ChainInput : std::uint8_t { kHalves, kNorm };
enum class ChainOutput : std::uint8_t { kHalves, kAddToHidden, kSiluProduct };

struct ChainLink {
  const std::uint8_t* weight = nullptr;
  const float* bias = nullptr;
  const std::uint16_t* from = nullptr;  ///< [m, k] (kHalves)
  const float* norm = nullptr;          ///< [k] (kNorm)
  std::uint16_t* to = nullptr;          ///< [m, n] (kHalves), [m, n / 2] (kSiluProduct)
  ChainInput input = ChainInput::kHalves;
  ChainOutput output = ChainOutput::kHalves;
  std::int32_t n = 0, k = 0;
  std::int32_t steps = 0, leaves = 0;

  AWQ_HOST_DEVICE constexpr bool pairs() const { return output == ChainOutput::kSiluProduct; }
  /// What is dealt to the blocks: tiles of 16 rows, or pairs of them.
  AWQ_HOST_DEVICE constexpr std::int32_t pieces() const { return pairs() ? n / 32 : (n + 15) / 16; }
  AWQ_HOST_DEVICE constexpr std::int32_t first_piece(int block, int blocks) const {
    return static_cast<std::int32_t>(static_cast<std::int64_t>(block) * pieces() / blocks);
  }
  /// Tiles that a block's warps take at a time.
  AWQ_HOST_DEVICE constexpr std::int32_t round_tiles(int warps) const {
    return pairs() ? warps / leaves / 2 * 2 : warps / leaves;
  }
};

struct ChainArgs {
  ChainLink links[kChainMostLinks];
  std::int32_t count = 0;  ///< of links
  float* hidden = nullptr;
  float eps = 0;
  std::int32_t m = 0;
  std::int32_t rows = 1, rows_log2 = 0;  ///< of tokens that shared memory holds: 1, 2, 4 or 8
  std::int32_t warps = 0;
  std::int32_t token_bytes = 0;       ///< of shared memory, behind the rings
  std::uint32_t* arrived = nullptr;   ///< blocks at the barriers so far; zero between launches
  std::uint32_t* finished = nullptr;  ///< blocks that need no barrier any more; zero between launches
};

/// The tiles of one block in one linear.
struct ChainShare {
  std::int32_t first = 0, tiles = 0, rounds = 0;

  AWQ_HOST_DEVICE constexpr ChainShare(const ChainLink& link, int warps, int block, int blocks) {
    first = link.first_piece(block, blocks);
    tiles = (link.first_piece(block + 1, blocks) - first) * (link.pairs() ? 2 : 1);
    const std::int32_t at_a_time = link.round_tiles(warps);
    rounds = (tiles + at_a_time - 1) / at_a_time;
  }
  /// Tile of the weight of place `local` among the block's own.
  AWQ_HOST_DEVICE constexpr std::int32_t tile(const ChainLink& link, int local) const {
    return link.pairs() ? first + local / 2 + local % 2 * link.pieces() : first + local;
  }
};

/// Shape of a launch: as many warps, and steps of a warp's ring, as fit.
struct ChainShape {
  int warps = 0;  ///< 0: does not fit
  int depth = 0;  ///< 6 or 4
};
constexpr std::int64_t chain_token_bytes(std::int64_t most_steps, std::int64_t m) {
  return most_steps * 2 * small_token_rows(m) * 128 + 128;
}
/// Rings, tokens and a row of zeros, two sets of the warps' sums, partial sums of squares.
constexpr std::int64_t chain_shared_bytes(int groups, std::int64_t most_steps, std::int64_t m, ChainShape shape) {
  return static_cast<std::int64_t>(shape.warps) * shape.depth * small_step_bytes(groups) +
         chain_token_bytes(most_steps, m) + 2LL * shape.warps * 16 * small_token_rows(m) * 4 + 64;
}
constexpr ChainShape chain_shape(int groups, std::int64_t most_steps, std::int64_t m, int shared_bytes) {
  for (int warps = kChainMostWarps; warps >= 8; warps -= 8) {
    for (const int depth : {6, 4}) {
      const ChainShape shape = {warps, depth};
      if (chain_shared_bytes(groups, most_steps, m, shape) <= shared_bytes) return shape;
    }
  }
  return {};
}

}  // namespace awq::kernels::cuda
