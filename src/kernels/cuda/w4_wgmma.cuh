#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/w4_wgmma_consume.cuh"
#include "kernels/cuda/w4_wgmma_produce.cuh"

/// Two warpgroups of consumers, 64 rows of the weight each, and a producer. A stage holds 128 inputs: kTokens x 128
/// activations and a step of a strip.
namespace awq::kernels::cuda {

inline constexpr int kProducerThread = 256;
/// The producer has a warpgroup, so that it can hand its registers to the consumers.
inline constexpr int kWgmmaThreads = kProducerThread + 128;

template <int kTokens, Half kType, int kGroup>
__global__ void __launch_bounds__(kWgmmaThreads, 1)
    w4_wgmma_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ WgmmaArgs args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // other targets hold an empty kernel that the table never starts
  AWQ_DYNAMIC_SHARED(shared, 1024);
  constexpr WgmmaMemory kMemory{kTokens, kGroup};
  const std::uint32_t base = ptx::keep_value(ptx::shared_address(shared));
  const int warpgroup = __shfl_sync(0xffffffffU, static_cast<int>(threadIdx.x) >> 7, 0);
  if (threadIdx.x == 0) {
    const std::uint32_t arrivals = args.sharing == WgmmaSharing::kStripesPairs ? 16 : 8;
    for (int i = 0; i < kMemory.stages(); ++i) {
      ptx::barrier_init(base + kMemory.barriers_at() + 16 * i, 1);
      ptx::barrier_init(base + kMemory.barriers_at() + 16 * i + 8, arrivals);
    }
    ptx::barrier_init_fence();
  }
  if (args.cluster > 1) {
    ptx::cluster_barrier();
  } else {
    __syncthreads();
  }
  if (warpgroup == kProducerThread / 128) {
    ptx::give_registers<40>();
    if (threadIdx.x == kProducerThread) wgmma_produce<kTokens, kGroup>(args, x, base);
  } else {
    ptx::take_registers<232>();
    WgmmaConsumer<kTokens, kType, kGroup> consumer(args, shared, base);
    WgmmaWalk walk(args, static_cast<int>(blockIdx.x) / args.cluster, static_cast<int>(gridDim.x) / args.cluster);
    WgmmaPart part;
    constexpr bool kTurns = decltype(consumer)::kTurns;
    if (kTurns && warpgroup == 1) ptx::barrier_arrive_only<256>(kTurnBarrier);  // the first turn is the other's
#pragma unroll 1
    while (walk.next(static_cast<int>(consumer.rank), part)) consumer.run_part(part);
    if (kTurns && warpgroup == 0) ptx::barrier_sync<256>(kTurnBarrier);
  }
  // No block of a pair may leave while the other still arrives at its barriers.
  if (args.cluster > 1) {
    __syncwarp();
    ptx::cluster_barrier();
  }
#endif
}

template <int kTokens, Half kType, int kGroup>
int launch_wgmma_kernel(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  constexpr auto kKernel = w4_wgmma_kernel<kTokens, kType, kGroup>;
  constexpr WgmmaMemory kMemory{kTokens, kGroup};
  if (const int status = allow_shared_bytes<kKernel>(kMemory.bytes(), Carveout::kDriver); status != 0) return status;
  return cuda::launch(kKernel, dim3(static_cast<unsigned>(launch.blocks)), kWgmmaThreads, kMemory.bytes(), stream,
                      static_cast<unsigned>(launch.args.cluster), x, launch.args);
}

template <Half kType, int kGroup>
int launch_wgmma_tokens(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  return launch.tokens == 64 ? launch_wgmma_kernel<64, kType, kGroup>(launch, x, stream)
                             : launch_wgmma_kernel<128, kType, kGroup>(launch, x, stream);
}

}  // namespace awq::kernels::cuda
