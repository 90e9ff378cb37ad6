#pragma once

#include <cstdint>

#include "kernels/cuda/w4_stream.h"

/// Who computes what in the kernel with Hopper's matrix instructions. Without CUDA's headers: tests on a processor read
/// it too.
namespace awq::kernels::cuda {

/// How the blocks of a launch share the work; the bits of the result do not depend on it.
enum class WgmmaSharing : std::uint8_t {
  kStripes,  ///< every block takes a run of leaves; a tile that two blocks share is handed on through global memory
  kStripesPairs,  ///< the same with pairs of blocks, whose tokens are copied once for both
  kSplit,         ///< `cluster` blocks take one tile, each some of its leaves, and add them in global memory
};

/// What there is to share, and how.
struct WgmmaWork {
  WgmmaSharing sharing = WgmmaSharing::kStripes;
  std::int32_t leaves = 0;
  std::int32_t columns = 0;        ///< tiles of 128 rows of the weight (pairs of them with kStripesPairs)
  std::int32_t token_tiles = 0;    ///< tiles of tokens
  std::int32_t striped_tiles = 0;  ///< the first tiles, which are shared in stripes; the rest go to one block each
  std::int32_t cluster = 1;        ///< blocks of a pair, or of a tile (kSplit)
};

/// Workers (blocks, or pairs of them) of the stripes among at most `most`; sets striped_tiles. Whole tiles go one by
/// one in an order that suits the cache, the last one to two rounds of them in stripes.
AWQ_HOST_DEVICE constexpr std::int32_t wgmma_workers(WgmmaWork& work, std::int32_t most) {
  const std::int32_t tiles = work.columns * work.token_tiles;
  const std::int32_t workers = most < tiles * work.leaves ? most : tiles * work.leaves;
  const std::int32_t rounds = tiles / workers;
  work.striped_tiles = tiles % workers == 0 ? 0 : rounds <= 1 ? tiles : tiles - (rounds - 1) * workers;
  return workers;
}

/// The same for the wide form: where whole tiles take no longer than equal stripes, nothing is shared.
AWQ_HOST_DEVICE constexpr std::int32_t wide_workers(WgmmaWork& work, std::int32_t most) {
  const std::int32_t workers = wgmma_workers(work, most);
  const std::int32_t tiles = work.columns * work.token_tiles;
  const std::int32_t longest = (tiles * work.leaves + workers - 1) / workers;  // leaves of the busiest
  if (longest % work.leaves != 0) return workers;
  const std::int32_t rounds = longest / work.leaves;
  work.striped_tiles = 0;
  return (tiles + rounds - 1) / rounds;
}

/// Part of a tile: leaves [leaf_begin, leaf_end).
struct WgmmaPart {
  std::int32_t column = 0, token_tile = 0;
  std::int32_t leaf_begin = 0, leaf_end = 0;
};

/// Columns that are worked on together, so that their codes and the tokens' activations stay in the L2 cache.
inline constexpr std::int32_t kWgmmaColumnsTogether = 16;

/// The parts that worker `p` of `workers` takes, in its order. Stripes: worker p takes units [U p / workers, U (p + 1)
/// / workers) of the tiles' leaves, the last tile first, so that what it hands on (the beginning of a tile) is ready
/// early and what it waits for (the end of a tile) comes last; worker p - 1 holds what comes before.
class WgmmaWalk {
 public:
  AWQ_HOST_DEVICE WgmmaWalk(const WgmmaWork& work, std::int32_t p, std::int32_t workers)
      : work_(work), p_(p), workers_(workers) {
    const std::int64_t units = static_cast<std::int64_t>(work.striped_tiles) * work.leaves;
    begin_ = static_cast<std::int32_t>(units * p / workers);
    end_ = static_cast<std::int32_t>(units * (p + 1) / workers);
    whole_ = work.striped_tiles + p;
  }
  /// `rank` of the block among those of its tile (kSplit). False when there is nothing left.
  AWQ_HOST_DEVICE bool next(std::int32_t rank, WgmmaPart& part) {
    if (work_.sharing == WgmmaSharing::kSplit) {
      if (whole_ < 0) return false;
      place(p_, part);
      part.leaf_begin = rank * work_.leaves / work_.cluster;
      part.leaf_end = (rank + 1) * work_.leaves / work_.cluster;
      whole_ = -1;
      return true;
    }
    if (begin_ < end_) {
      const std::int32_t tile = (end_ - 1) / work_.leaves;
      const std::int32_t first = tile * work_.leaves;
      place(tile, part);
      part.leaf_begin = (begin_ > first ? begin_ : first) - first;
      part.leaf_end = end_ - first;
      end_ = first > begin_ ? first : begin_;
      return true;
    }
    if (whole_ >= work_.columns * work_.token_tiles) return false;
    place(whole_, part);
    part.leaf_begin = 0;
    part.leaf_end = work_.leaves;
    whole_ += workers_;
    return true;
  }

 private:
  AWQ_HOST_DEVICE void place(std::int32_t tile, WgmmaPart& part) const {
    const std::int32_t together =
        work_.sharing == WgmmaSharing::kStripesPairs ? kWgmmaColumnsTogether / 2 : kWgmmaColumnsTogether;
    const std::int32_t group = tile / (together * work_.token_tiles);
    const std::int32_t inside = tile - group * together * work_.token_tiles;
    const std::int32_t rest = work_.columns - group * together;
    const std::int32_t width = rest < together ? rest : together;
    part.token_tile = inside / width;
    part.column = group * together + inside % width;
  }

  const WgmmaWork& work_;
  std::int32_t p_, workers_;
  std::int32_t begin_ = 0, end_ = 0;  ///< units of the stripe that are left
  std::int32_t whole_ = 0;            ///< next tile that is all ours
};

}  // namespace awq::kernels::cuda
