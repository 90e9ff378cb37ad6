#pragma once

#include "kernels/cuda/w4_many_ring.cuh"

namespace awq::kernels::cuda {

/// Where the codes of a tile of 192 rows come from: one and a half strips, of which the half comes first or last.
struct ManySource {
  const std::uint8_t* low = nullptr;   ///< of the tile's first slabs
  const std::uint8_t* high = nullptr;  ///< of its last ones
  std::uint32_t low_bytes = 0;

  /// `column` of the tile. A strip that does not exist is stood in for by the one before it: what it gives is not
  /// stored.
  __device__ __forceinline__ ManySource(const WgmmaArgs& args, int column, int step, int slab_bytes) {
    const int last = (args.n + 127) / 128 - 1;
    const int first = min(column * 3 / 2, last);
    const int second = min(first + 1, last);
    const bool odd = (column & 1) != 0;
    low_bytes = (odd ? 4 : 8) * slab_bytes;
    const std::int64_t step_bytes = 8 * slab_bytes;
    low = args.weight + (static_cast<std::int64_t>(first) * args.steps + step) * step_bytes + (odd ? low_bytes : 0);
    high = args.weight + (static_cast<std::int64_t>(second) * args.steps + step) * step_bytes;
  }
};

/// The one thread that copies: per step a step of one and a half strips and two boxes of activations, one at a time.
template <int kGroup>
__device__ __forceinline__ void many_produce(const WgmmaArgs& args, const CUtensorMap& x, std::uint32_t base,
                                             const WgmmaPart& part) {
  constexpr ManyMemory kMemory{kGroup};
  const std::uint64_t policy = ptx::evict_first();
  const int begin = w4_leaf_begin(part.leaf_begin, args.steps, args.leaves);
  const int end = w4_leaf_begin(part.leaf_end, args.steps, args.leaves);
  ManySource from(args, part.column, begin, kMemory.slab_bytes());
  ManyHalves halves{0, 1};
  ManyWeights<kGroup> weights{0, 1};
  const auto copy_weights = [&] {
    const std::uint32_t to = base + kMemory.weights_at() + weights.at;
    const std::uint32_t full = to + kMemory.weight_full_at();
    ptx::barrier_expect(full, kMemory.weight_bytes());
    ptx::copy_bulk(to, from.low, from.low_bytes, full, policy);
    ptx::copy_bulk(to + from.low_bytes, from.high, kMemory.weight_bytes() - from.low_bytes, full, policy);
    from.low += 8 * kMemory.slab_bytes();
    from.high += 8 * kMemory.slab_bytes();
    weights.advance();
  };

  ptx::prefetch_map(&x);
  // The codes of the first steps do not depend on earlier kernels: they are under way before the activations exist.
  int copied = begin;  // steps of the weight
  const int early = min(end, begin + kMemory.steps());
#pragma unroll 1
  for (; copied < early; ++copied) copy_weights();
  ptx::wait_for_earlier_kernel();
  const int row = part.token_tile * kManyTokens;
#pragma unroll 1
  for (int half = 2 * begin; half < 2 * end; ++half) {
    if (half == 2 * copied) {
      ptx::barrier_wait(base + kMemory.weights_at() + weights.at + kMemory.weight_empty_at(), weights.parity);
      copy_weights();
      ++copied;
    }
    const std::uint32_t full = many_half_full<kGroup>(base, halves.at);
    ptx::barrier_wait(full + 8, halves.parity);
    ptx::barrier_expect(full, ManyMemory::kHalfBytes);
    ptx::copy_box(base + halves.at, &x, half * 64, row, full);
    halves.advance();
  }
  ptx::let_next_kernel_start();
}

}  // namespace awq::kernels::cuda
