#pragma once

#include <cstdint>

#include "kernels/cuda/w4_small.h"

/// Who computes what in a chain of linears (cuda_chain.h). Without CUDA's headers: tests on a processor read it too.
///
/// Every block takes a run of tiles of 16 rows of each linear; its warps take the leaves of these tiles one by one, as
/// units, warp w the units w, w + warps, ... Where gates and ups belong together a pair of tiles counts as two
/// neighbouring ones.
namespace awq::kernels::cuda {

inline constexpr int kChainMostWarps = 28;  ///< of a block, by registers
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
  std::int32_t steps = 0, leaves_log2 = 0;
  std::int32_t pieces = 0;               ///< what is dealt to the blocks: tiles of 16 rows, or pairs of them
  std::int32_t each = 0, remainder = 0;  ///< pieces of a block, and how many blocks have one more

  AWQ_HOST_DEVICE constexpr bool pairs() const { return output == ChainOutput::kSiluProduct; }
  constexpr void deal(std::int32_t blocks) {
    pieces = pairs() ? n / 32 : (n + 15) / 16;
    each = pieces / blocks;
    remainder = pieces % blocks;
  }
  /// First step of a leaf; w4_leaf_begin(), for leaves are a power of two.
  AWQ_HOST_DEVICE constexpr std::int32_t leaf_begin(std::int32_t leaf) const { return leaf * steps >> leaves_log2; }
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

/// What one block has to do in one linear.
struct ChainShare {
  std::int32_t first = 0, tiles = 0, units = 0;

  AWQ_HOST_DEVICE constexpr ChainShare(const ChainLink& link, int block) {
    first = block * link.each + (block < link.remainder ? block : link.remainder);
    tiles = (link.each + (block < link.remainder ? 1 : 0)) << (link.pairs() ? 1 : 0);
    units = tiles << link.leaves_log2;
  }
  /// Tile of the weight of place `local` among the block's own.
  AWQ_HOST_DEVICE constexpr std::int32_t tile(const ChainLink& link, int local) const {
    return link.pairs() ? first + (local >> 1) + (local & 1) * link.pieces : first + local;
  }
};

/// Shape of a launch: as many warps, and steps of a warp's ring, as fit.
struct ChainShape {
  int warps = 0;  ///< 0: does not fit
  int depth = 0;  ///< 6 or 4
};
/// What a launch of one group size and so many tokens has to make room for.
struct ChainNeeds {
  int groups = 1;
  std::int64_t m = 1;
  std::int64_t most_steps = 0, most_units = 0;  ///< of a linear, and of a block's share of it
};
constexpr std::int64_t chain_token_bytes(const ChainNeeds& needs) {
  return needs.most_steps * 2 * small_token_rows(needs.m) * 128;
}
/// Tokens, rings, sums of the units of a linear, partial sums of squares.
constexpr std::int64_t chain_shared_bytes(const ChainNeeds& needs, ChainShape shape) {
  return chain_token_bytes(needs) +
         static_cast<std::int64_t>(shape.warps) * small_ring_bytes(needs.groups, shape.depth) +
         needs.most_units * 16 * small_token_rows(needs.m) * 4 + 64;
}
constexpr ChainShape chain_shape(const ChainNeeds& needs, int shared_bytes) {
  for (int warps = kChainMostWarps; warps >= 8; warps -= 4) {
    for (const int depth : {6, 4}) {
      const ChainShape shape = {warps, depth};
      if (chain_shared_bytes(needs, shape) <= shared_bytes) return shape;
    }
  }
  return {};
}

}  // namespace awq::kernels::cuda
