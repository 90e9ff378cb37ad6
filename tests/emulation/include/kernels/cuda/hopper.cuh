#pragma once

#include "hopper.h"
#include "kernels/cuda/ptx.cuh"

/// Twin of src/kernels/cuda/hopper.cuh for the emulated device (hopper.h).
namespace awq::kernels::cuda::ptx {

inline void wgmma_fence() { cuda_emulation::products_fence(); }
inline void wgmma_commit() { cuda_emulation::products_commit(); }
template <int kPending>
void wgmma_wait() {
  cuda_emulation::products_wait(kPending);
}
inline void keep(float&) {}
inline void keep(std::uint32_t&) {}

inline std::uint32_t wgmma_descriptor(std::uint32_t address) { return (address >> 4 & 0x3fffU) | 0x10000U; }
inline constexpr std::uint32_t kDescriptorHigh = 0x40000000U | (1024 >> 4);
constexpr std::uint64_t whole_descriptor(std::uint32_t low) {
  return static_cast<std::uint64_t>(kDescriptorHigh) << 32 | low;
}
template <int kTokens, Half kType>
struct Wgmma {
  static void run(float (&d)[kTokens / 2], const std::uint32_t (&a)[4], std::uint64_t b, int accumulate) {
    cuda_emulation::multiply(d, kTokens, kType == Half::kBf16, a, b, accumulate != 0);
  }
};

inline void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
  cuda_emulation::barrier_init(barrier, arrivals);
}
inline void barrier_init_fence() {}
inline void barrier_expect(std::uint32_t barrier, std::uint32_t bytes) {
  cuda_emulation::barrier_arrive(barrier, bytes);
}
inline void barrier_arrive(std::uint32_t barrier) { cuda_emulation::barrier_arrive(barrier); }
inline void barrier_arrive_remote(std::uint32_t barrier, std::uint32_t rank) {
  cuda_emulation::barrier_arrive_remote(barrier, rank);
}
inline constexpr std::uint32_t kWarpArrivals = 1;
inline void barrier_arrive_once(std::uint32_t barrier) {
  cuda_emulation::wait_for_warp();
  if (cuda_emulation::own_lane() == 0) cuda_emulation::barrier_arrive(barrier);
}
inline void barrier_wait(std::uint32_t barrier, std::uint32_t parity) { cuda_emulation::barrier_wait(barrier, parity); }
inline void barrier_wait_cluster(std::uint32_t barrier, std::uint32_t parity) { barrier_wait(barrier, parity); }

inline std::uint64_t evict_first() { return 0; }
inline void copy_bulk(std::uint32_t to, const void* from, std::uint32_t bytes, std::uint32_t barrier, std::uint64_t) {
  cuda_emulation::copy_bulk(to, from, bytes, barrier);
}
inline void prefetch_map(const void*) {}
inline void copy_box_multicast(std::uint32_t to, const void* map, int c0, int c1, std::uint32_t barrier,
                               std::uint16_t blocks) {
  cuda_emulation::copy_box(to, *static_cast<const CUtensorMap*>(map), c0, c1, barrier, blocks);
}
inline void copy_box(std::uint32_t to, const void* map, int c0, int c1, std::uint32_t barrier) {
  copy_box_multicast(to, map, c0, c1, barrier, static_cast<std::uint16_t>(1U << cuda_emulation::cluster_rank()));
}

inline std::uint32_t cluster_rank() { return cuda_emulation::cluster_rank(); }
inline void cluster_barrier() { cuda_emulation::wait_for_cluster(); }
inline void store_matrices_transposed(std::uint32_t address, std::uint32_t r0, std::uint32_t r1, std::uint32_t r2,
                                      std::uint32_t r3) {
  using namespace cuda_emulation;
  const std::uint32_t* of_lane = exchange_words({address});
  const std::uint32_t matrices[4] = {r0, r1, r2, r3};
  const int row = own_lane() / 4, pair = own_lane() % 4;
  for (int i = 0; i < 4; ++i) {
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t to = of_lane[(8 * i + 2 * pair + half) * kLaneWords] + 2U * row;
      *shared_pointer<std::uint16_t>(to) = static_cast<std::uint16_t>(matrices[i] >> (16 * half));
    }
  }
}
template <int kRegisters>
void take_registers() {}
template <int kRegisters>
void give_registers() {}

}  // namespace awq::kernels::cuda::ptx
