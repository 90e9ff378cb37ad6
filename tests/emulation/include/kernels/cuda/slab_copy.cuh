#pragma once

#include "hopper.h"
#include "kernels/cuda/ptx.cuh"

/// Twin of src/kernels/cuda/slab_copy.cuh for the emulated device: which of the two ways shows when it runs.
namespace awq::kernels::cuda::ptx {

inline void slab_barrier_init(std::uint32_t barrier) {
  if (cuda_emulation::device.has_bulk_copies()) cuda_emulation::barrier_init(barrier, 1);
}
inline void slab_barrier_fence() {}

template <int kStep, int kStride, int kMost>
void copy_slabs(std::uint32_t to, const std::uint8_t* from, int count, int lane) {
  static_assert(kStep % 16 == 0 && kStride % 16 == 0 && (kMost == 1 || kMost == 2));
  if (cuda_emulation::device.has_bulk_copies()) {
    if (count <= 0) return;
    cuda_emulation::wait_for_warp();  // for the election
    if (lane != 0) return;
    const std::uint32_t barrier = to + kMost * kStep;
    cuda_emulation::barrier_arrive(barrier, static_cast<std::uint32_t>(count * kStep));
    cuda_emulation::copy_bulk(to, from, kStep, barrier);
    if (kMost > 1 && count > 1) cuda_emulation::copy_bulk(to + kStep, from + kStride, kStep, barrier);
    return;
  }
  for (int u = 0; u < kMost && u < count; ++u) {
    const std::uint32_t at = to + u * kStep + lane * 16;
    const std::uint8_t* source = from + u * kStride + lane * 16;
    copy_async(at, source);
    copy_async(at + 512, source + 512);
    if (lane < (kStep - 1024) / 16) copy_async(at + 1024, source + 1024);
  }
  copy_commit();
}

template <int kPending>
void wait_for_slabs(std::uint32_t barrier, std::uint32_t parity) {
  if (cuda_emulation::device.has_bulk_copies()) {
    cuda_emulation::barrier_wait(barrier, parity);
  } else {
    copy_wait<kPending>();
  }
}

}  // namespace awq::kernels::cuda::ptx
