#pragma once

#include "kernels/cuda/w4_wide_ring.cuh"

namespace awq::kernels::cuda {

/// The one thread that copies: per stage a step of two strips and two boxes of activations.
template <int kTokens, int kGroup, bool kSplit>
__device__ __forceinline__ void wide_produce(const WgmmaArgs& args, const CUtensorMap& x, std::uint32_t base,
                                             WgmmaWalk& walk, int rank) {
  constexpr WideMemory kMemory{kTokens, kGroup, kSplit};
  constexpr int kStrip = kMemory.strip_bytes();
  const std::uint64_t policy = ptx::evict_first();
  const std::uint8_t* from = nullptr;  // the next codes of the first strip
  std::uint32_t second = 0;            // how much further those of the second are
  int column = 0;                      // of the next activations
  int row = 0;

  const auto copy_weights = [&](std::uint32_t at) {
    const std::uint32_t full = base + at + kMemory.full_at();
    const std::uint32_t to = base + at + kMemory.x_bytes();
    ptx::barrier_expect(full, kMemory.x_bytes() + 2 * kStrip);
    ptx::copy_bulk(to, from, kStrip, full, policy);
    ptx::copy_bulk(to + kStrip, from + second, kStrip, full, policy);
    from += kStrip;
  };
  const auto copy_tokens = [&](std::uint32_t at) {
    const std::uint32_t full = base + at + kMemory.full_at();
    ptx::copy_box(base + at, &x, column, row, full);
    ptx::copy_box(base + at + kTokens * 128, &x, column + 64, row, full);
    column += 128;
  };

  ptx::prefetch_map(&x);
  WgmmaPart part;
  WideRing<kTokens, kGroup, kSplit> ring{0, 1};
  bool first = true;
#pragma unroll 1
  while (walk.next(rank, part)) {
    int step = w4_leaf_begin(part.leaf_begin, args.steps, args.leaves);
    int left = w4_leaf_begin(part.leaf_end, args.steps, args.leaves) - step;
    // Of an odd number of strips the last has no second one: its own codes stand in, and what they give is not stored.
    const bool pair = (part.column * 2 + 1) * 128 < args.n;
    second = pair ? args.steps * kStrip : 0;
    from = args.weight + (static_cast<std::int64_t>(part.column) * 2 * args.steps + step) * kStrip;
    column = step * 128;
    row = part.token_tile * kTokens;
    if (first) {
      // The codes of the first stages do not depend on earlier kernels: they are under way before the activations
      // exist.
      first = false;
      const int early = left < kMemory.stages() ? left : kMemory.stages();
#pragma unroll 1
      for (int i = 0; i < early; ++i) copy_weights(i * kMemory.stage_bytes());
      ptx::wait_for_earlier_kernel();
#pragma unroll 1
      for (int i = 0; i < early; ++i) {
        copy_tokens(ring.at);
        ring.advance();
      }
      left -= early;
    }
#pragma unroll 1
    for (; left > 0; --left) {
      ptx::barrier_wait(base + ring.at + kMemory.empty_at(), ring.parity);
      copy_weights(ring.at);
      copy_tokens(ring.at);
      ring.advance();
    }
  }
  ptx::let_next_kernel_start();
}

}  // namespace awq::kernels::cuda
