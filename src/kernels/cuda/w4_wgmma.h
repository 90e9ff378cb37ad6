#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/api/cuda_types.h"
#include "kernels/cuda/w4_stream.h"

/// The kernel with Hopper's matrix instructions: one block holds 128 rows of the weight against up to 128 tokens.
namespace awq::kernels::cuda {

/// How the blocks of a launch share the work; the bits of the result do not depend on it.
enum class WgmmaSharing : std::uint8_t {
  kStripes,  ///< every block takes a run of leaves; a tile that two blocks share is handed on through global memory
  kStripesPairs,  ///< the same with pairs of blocks, whose tokens are copied once for both
  kCluster,       ///< a cluster of blocks takes one tile, each some leaves, and adds them in shared memory
};

struct WgmmaArgs {
  WgmmaSharing sharing = WgmmaSharing::kStripes;
  const std::uint8_t* weight = nullptr;
  void* y = nullptr;
  const float* bias = nullptr;
  float4* partial = nullptr;       ///< [blocks, 2, kTokens / 8, 128] tiles handed on (stripes)
  std::uint32_t* ready = nullptr;  ///< [blocks, 2] flags, zero between launches
  std::int32_t n = 0, m = 0;
  std::int32_t steps = 0;  ///< of 128 inputs
  std::int32_t leaves = 0;
  std::int32_t columns = 0;        ///< tiles of 128 rows of the weight (pairs of them with kStripesPairs)
  std::int32_t token_tiles = 0;    ///< tiles of kTokens
  std::int32_t striped_tiles = 0;  ///< the first tiles, which are shared in stripes; the rest go to one block each
  std::int32_t cluster = 1;        ///< blocks of a cluster
};

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
  AWQ_HOST_DEVICE WgmmaWalk(const WgmmaArgs& args, std::int32_t p, std::int32_t workers)
      : args_(args), p_(p), workers_(workers) {
    const std::int64_t units = static_cast<std::int64_t>(args.striped_tiles) * args.leaves;
    begin_ = static_cast<std::int32_t>(units * p / workers);
    end_ = static_cast<std::int32_t>(units * (p + 1) / workers);
    whole_ = args.striped_tiles + p;
  }
  /// `rank` of the block in its cluster (kCluster). False when there is nothing left.
  AWQ_HOST_DEVICE bool next(std::int32_t rank, WgmmaPart& part) {
    if (args_.sharing == WgmmaSharing::kCluster) {
      if (whole_ < 0) return false;
      place(p_, part);
      part.leaf_begin = rank * args_.leaves / args_.cluster;
      part.leaf_end = (rank + 1) * args_.leaves / args_.cluster;
      whole_ = -1;
      return true;
    }
    if (begin_ < end_) {
      const std::int32_t tile = (end_ - 1) / args_.leaves;
      const std::int32_t first = tile * args_.leaves;
      place(tile, part);
      part.leaf_begin = (begin_ > first ? begin_ : first) - first;
      part.leaf_end = end_ - first;
      end_ = first > begin_ ? first : begin_;
      return true;
    }
    if (whole_ >= args_.columns * args_.token_tiles) return false;
    place(whole_, part);
    part.leaf_begin = 0;
    part.leaf_end = args_.leaves;
    whole_ += workers_;
    return true;
  }

 private:
  AWQ_HOST_DEVICE void place(std::int32_t tile, WgmmaPart& part) const {
    const std::int32_t together =
        args_.sharing == WgmmaSharing::kStripesPairs ? kWgmmaColumnsTogether / 2 : kWgmmaColumnsTogether;
    const std::int32_t group = tile / (together * args_.token_tiles);
    const std::int32_t inside = tile - group * together * args_.token_tiles;
    const std::int32_t rest = args_.columns - group * together;
    const std::int32_t width = rest < together ? rest : together;
    part.token_tile = inside / width;
    part.column = group * together + inside % width;
  }

  const WgmmaArgs& args_;
  std::int32_t p_, workers_;
  std::int32_t begin_ = 0, end_ = 0;  ///< units of the stripe that are left
  std::int32_t whole_ = 0;            ///< next tile that is all ours
};

/// Two blocks share a multiprocessor where the sums of a tile leave the registers for it.
AWQ_HOST_DEVICE constexpr bool wgmma_small(std::int32_t tokens) { return tokens <= 32; }
AWQ_HOST_DEVICE constexpr std::int32_t wgmma_blocks_together(std::int32_t tokens) {
  return wgmma_small(tokens) ? 2 : 1;
}
/// The two warpgroups take turns on the tensor cores, so that one expands codes while the other multiplies.
AWQ_HOST_DEVICE constexpr bool wgmma_turns(std::int32_t tokens, std::int32_t group_size) {
  return tokens >= 64 && group_size == 128;
}

/// Shared memory of a block: activations of all stages, codes of all stages, sums of leaves, barriers.
struct WgmmaMemory {
  std::int32_t tokens = 0, group_size = 0;
  bool cluster = false;  ///< holds the sums of several leaves
  AWQ_HOST_DEVICE constexpr std::int32_t x_bytes() const { return tokens * 256; }
  AWQ_HOST_DEVICE constexpr std::int32_t slab_bytes() const { return (1024 + 40 * (128 / group_size) + 15) / 16 * 16; }
  AWQ_HOST_DEVICE constexpr std::int32_t weight_bytes() const { return 8 * slab_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t sum_slots() const { return !cluster ? 1 : tokens == 32 ? 2 : 4; }
  AWQ_HOST_DEVICE constexpr std::int32_t sum_bytes() const { return tokens * 512; }
  AWQ_HOST_DEVICE constexpr std::int32_t most_bytes() const {
    return wgmma_small(tokens) ? (233472 / 2 - 1024) / 128 * 128 : 232448;
  }
  /// As many as fit, at most 16.
  AWQ_HOST_DEVICE constexpr std::int32_t stages() const {
    const std::int32_t fit = (most_bytes() - sum_slots() * sum_bytes()) / (x_bytes() + weight_bytes() + 16);
    return fit < 16 ? fit : 16;
  }
  AWQ_HOST_DEVICE constexpr std::int32_t weights_at() const { return stages() * x_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t sums_at() const { return weights_at() + stages() * weight_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t barriers_at() const { return sums_at() + sum_slots() * sum_bytes(); }
  AWQ_HOST_DEVICE constexpr std::int32_t bytes() const { return barriers_at() + 16 * stages(); }
};

/// One launch.
struct WgmmaLaunch {
  WgmmaArgs args;
  Half type = Half::kBf16;
  std::int32_t tokens = 0;  ///< of a tile: 8, 16, 32, 64, 128
  std::int32_t group_size = 128;
  std::int32_t blocks = 0;
};
/// Return a cudaError_t as a number.
int launch_wgmma_f16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);
int launch_wgmma_bf16(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream);

}  // namespace awq::kernels::cuda
