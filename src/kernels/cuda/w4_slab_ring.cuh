#pragma once

#include "kernels/cuda/slab_copy.cuh"
#include "kernels/cuda/w4_small.h"

/// How a warp of the kernels for few tokens streams its weights.
namespace awq::kernels::cuda {

/// A warp's ring of slabs in shared memory, filled ahead of what is read. A slot holds kPair slabs of kStep bytes and
/// the barrier that counts their bytes; all lanes call every member together.
template <int kStep, int kPair, int kSlots>
struct SlabRing {
  static constexpr std::uint32_t kSlotBytes = kPair * kStep + kSmallBarrierBytes;

  std::uint32_t begin, end;  ///< addresses in shared memory
  std::uint32_t reading, filling;
  std::uint32_t parity = 0;  ///< of the round in which slots are read
  int lane;

  /// `slots`: kSlots, or what the host has made room for where copies do not run beside the kernel.
  __device__ __forceinline__ SlabRing(std::uint32_t at, int slots, int own_lane)
      : begin(at), end(at + slots * kSlotBytes), reading(at), filling(at), lane(own_lane) {
    if (lane == 0) {
      for (std::uint32_t slot = begin; slot != end; slot += kSlotBytes) ptx::slab_barrier_init(slot + kPair * kStep);
      ptx::slab_barrier_fence();
    }
    __syncwarp();
  }

  /// Asks for `count` (0 to kPair) slabs, the first at `from` and the next kStride bytes behind it, for the next slot,
  /// which nobody reads any more.
  template <int kStride>
  __device__ __forceinline__ void fetch(const std::uint8_t* from, int count) {
    ptx::copy_slabs<kStep, kStride, kPair>(filling, from, count, lane);
    filling += kSlotBytes;
    if (filling == end) filling = begin;
  }

  /// The address of the slot that was asked for first and not yet waited for, when all of it is there. Before the next
  /// call's slot is fetched into, everybody is done with this one.
  __device__ __forceinline__ std::uint32_t wait() {
    const std::uint32_t at = reading;
    ptx::wait_for_slabs<kSlots - 2>(at + kPair * kStep, parity);
    __syncwarp();
    reading += kSlotBytes;
    if (reading == end) {
      reading = begin;
      parity ^= 1;
    }
    return at;
  }
};

}  // namespace awq::kernels::cuda
