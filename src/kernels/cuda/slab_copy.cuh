#pragma once

#include "kernels/cuda/hopper.cuh"

/// Asynchronous copies of slabs (docs/layouts/cuda-w4.md) to shared memory by one warp. Where the bulk copy engine is
/// there, one lane asks for a slab and a barrier counts its bytes; elsewhere all lanes copy, and groups of copies are
/// counted.
namespace awq::kernels::cuda::ptx {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define AWQ_BULK_SLABS
#endif

#ifdef AWQ_BULK_SLABS
/// True in one lane of a warp whose lanes are all here.
__device__ __forceinline__ bool elected_lane() {
  std::uint32_t elected;
  asm volatile("{.reg .pred p; elect.sync _|p,0xffffffff; selp.u32 %0,1,0,p;}" : "=r"(elected));
  return elected != 0;
}
template <int kStep>
__device__ __forceinline__ void copy_slab(std::uint32_t to, const std::uint8_t* from, std::uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0],[%1],%2,[%3];" ::"r"(to),
               "l"(from), "n"(kStep), "r"(barrier)
               : "memory");
}
#endif

__device__ __forceinline__ void slab_barrier_init([[maybe_unused]] std::uint32_t barrier) {
#ifdef AWQ_BULK_SLABS
  barrier_init(barrier, 1);
#endif
}
__device__ __forceinline__ void slab_barrier_fence() {
#ifdef AWQ_BULK_SLABS
  barrier_init_fence();
#endif
}

/// `count` (up to kMost, 1 or 2) slabs of kStep bytes, kStride apart, to `to`, behind whose last slab the barrier lies.
template <int kStep, int kStride, int kMost>
__device__ __forceinline__ void copy_slabs(std::uint32_t to, const std::uint8_t* from, int count, int lane) {
  static_assert(kStep % 16 == 0 && kStride % 16 == 0 && (kMost == 1 || kMost == 2));
#ifdef AWQ_BULK_SLABS
  if (count <= 0 || !elected_lane()) return;
  const std::uint32_t barrier = to + kMost * kStep;
  barrier_expect(barrier, count * kStep);
  copy_slab<kStep>(to, from, barrier);
  if (kMost > 1 && count > 1) copy_slab<kStep>(to + kStep, from + kStride, barrier);
#else
#pragma unroll
  for (int u = 0; u < kMost; ++u) {
    if (u < count) {
      const std::uint32_t at = to + u * kStep + lane * 16;
      const std::uint8_t* source = from + u * kStride + lane * 16;
      copy_async(at, source);
      copy_async(at + 512, source + 512);
      if (lane < (kStep - 1024) / 16) copy_async(at + 1024, source + 1024);
    }
  }
  copy_commit();
#endif
}

/// Until a slot is filled: that of `barrier`, in a round of `parity`; elsewhere all but the last kPending asked for.
template <int kPending>
__device__ __forceinline__ void wait_for_slabs([[maybe_unused]] std::uint32_t barrier,
                                               [[maybe_unused]] std::uint32_t parity) {
#ifdef AWQ_BULK_SLABS
  barrier_wait(barrier, parity);
#else
  copy_wait<kPending>();
#endif
}

}  // namespace awq::kernels::cuda::ptx
