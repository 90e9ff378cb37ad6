#pragma once

#include "kernels/cuda/w4_wgmma_fragments.cuh"

/// The one thread that copies: per stage a step of the stream and two boxes of activations.
namespace awq::kernels::cuda {

template <int kTokens, int kGroup>
__device__ __forceinline__ void wgmma_produce(const WgmmaArgs& args, const CUtensorMap& x, std::uint32_t base) {
  constexpr WgmmaMemory memory{kTokens, kGroup};
  constexpr int kStages = memory.stages();
  const bool pairs = args.sharing == WgmmaSharing::kStripesPairs;
  const int rank = args.cluster > 1 ? static_cast<int>(ptx::cluster_rank()) : 0;
  const std::uint64_t policy = ptx::evict_first();
  const std::uint8_t* from = nullptr;  // of the next codes
  int column = 0;                      // of the next activations
  int row = 0;

  const auto copy_weights = [&](int stage) {
    const std::uint32_t full = base + memory.barriers_at() + 16 * stage;
    const std::uint32_t to = base + memory.weights_at() + stage * memory.weight_bytes();
    ptx::barrier_expect(full, kTokens * 256 + memory.weight_bytes());
    ptx::copy_bulk(to, from, memory.weight_bytes(), full, policy);
    from += memory.weight_bytes();
  };
  const auto copy_tokens = [&](int stage) {
    const std::uint32_t to = base + stage * memory.x_bytes();
    const std::uint32_t full = base + memory.barriers_at() + 16 * stage;
    if (pairs) {
      ptx::copy_box_multicast(to + rank * kTokens * 128, &x, column + rank * 64, row, full, 3);
    } else {
      ptx::copy_box(to, &x, column, row, full);
      ptx::copy_box(to + kTokens * 128, &x, column + 64, row, full);
    }
    column += 128;
  };

  WgmmaWalk walk(args, static_cast<int>(blockIdx.x) / args.cluster, static_cast<int>(gridDim.x) / args.cluster);
  WgmmaPart part;
  WgmmaRing ring{0, 1};
  bool first = true;
#pragma unroll 1
  while (walk.next(rank, part)) {
    int step = w4_leaf_begin(part.leaf_begin, args.steps, args.leaves);
    const int end = w4_leaf_begin(part.leaf_end, args.steps, args.leaves);
    int strip = pairs ? part.column * 2 + rank : part.column;
    const int last_strip = (args.n + 127) / 128 - 1;
    if (strip > last_strip) strip = last_strip;  // the second of an odd number of tiles: computed, not stored
    from = args.weight + (static_cast<std::int64_t>(strip) * args.steps + step) * memory.weight_bytes();
    column = step * 128;
    row = part.token_tile * kTokens;
    if (first) {
      // The codes of the first stages do not depend on earlier kernels: they are under way before the activations
      // exist.
      first = false;
      const int early = end - step < kStages ? end - step : kStages;
#pragma unroll 1
      for (int i = 0; i < early; ++i) copy_weights(i);
      ptx::wait_for_earlier_kernel();
#pragma unroll 1
      for (int i = 0; i < early; ++i) copy_tokens(i);
      step += early;
      ring.stage = early == kStages ? 0 : early;
      ring.parity = early == kStages ? 0 : 1;
    }
#pragma unroll 1
    for (; step < end; ++step) {
      const std::uint32_t empty = base + memory.barriers_at() + 8 + 16 * ring.stage;
      if (pairs) {
        ptx::barrier_wait_cluster(empty, ring.parity);
      } else {
        ptx::barrier_wait(empty, ring.parity);
      }
      copy_weights(ring.stage);
      copy_tokens(ring.stage);
      ring.advance<kStages>();
    }
  }
  ptx::let_next_kernel_start();
}

}  // namespace awq::kernels::cuda
