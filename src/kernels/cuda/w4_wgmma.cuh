#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/w4_wgmma_consume.cuh"
#include "kernels/cuda/w4_wgmma_produce.cuh"

/// Two warpgroups of consumers, 64 rows of the weight each, and a producer. A stage holds 128 inputs: kTokens x 128
/// activations and a step of a strip.
namespace awq::kernels::cuda {

inline constexpr int kProducerThread = 256;
/// The large form gives the producer a warpgroup, so that it can hand its registers to the consumers.
template <int kTokens>
inline constexpr int kWgmmaThreads = wgmma_small(kTokens) ? 288 : 384;

template <int kTokens, Half kType, int kGroup, bool kCluster>
__global__ void __launch_bounds__(kWgmmaThreads<kTokens>, wgmma_blocks_together(kTokens))
    w4_wgmma_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ WgmmaArgs args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // other targets hold an empty kernel that the table never starts
  AWQ_DYNAMIC_SHARED(shared, 1024);
  constexpr WgmmaMemory kMemory{kTokens, kGroup, kCluster};
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
    if constexpr (!wgmma_small(kTokens)) ptx::give_registers<40>();
    if (threadIdx.x == kProducerThread) wgmma_produce<kTokens, kGroup, kCluster>(args, x, base);
  } else {
    if constexpr (!wgmma_small(kTokens)) ptx::take_registers<232>();
    WgmmaConsumer<kTokens, kType, kGroup, kCluster> consumer(args, shared, base);
    WgmmaWalk walk(args, static_cast<int>(blockIdx.x) / args.cluster, static_cast<int>(gridDim.x) / args.cluster);
    WgmmaPart part;
    constexpr bool kTurns = wgmma_turns(kTokens, kGroup);
    if (kTurns && warpgroup == 1) ptx::barrier_arrive_only<256>(kTurnBarrier);  // the first turn is the other's
#pragma unroll 1
    while (walk.next(static_cast<int>(consumer.rank), part)) consumer.run_part(part);
    if (kTurns && warpgroup == 0) ptx::barrier_sync<256>(kTurnBarrier);
    if constexpr (kCluster) {
      __syncwarp();
      ptx::cluster_barrier();
      consumer.reduce_cluster(part);
    }
  }
  // No block may leave while another still reads its shared memory or arrives at its barriers.
  if (args.cluster > 1) {
    __syncwarp();
    ptx::cluster_barrier();
    if (kCluster && warpgroup == kProducerThread / 128) ptx::cluster_barrier();
  }
#endif
}

template <int kTokens, Half kType, int kGroup, bool kCluster>
int launch_wgmma_kernel(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  constexpr auto kKernel = w4_wgmma_kernel<kTokens, kType, kGroup, kCluster>;
  constexpr WgmmaMemory kMemory{kTokens, kGroup, kCluster};
  if (const int status = allow_shared_bytes<kKernel>(kMemory.bytes(), Carveout::kDriver); status != 0) return status;
  return cuda::launch(kKernel, dim3(static_cast<unsigned>(launch.blocks)), kWgmmaThreads<kTokens>, kMemory.bytes(),
                      stream, static_cast<unsigned>(launch.args.cluster), x, launch.args);
}

template <int kTokens, Half kType, int kGroup>
int launch_wgmma_sharing(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  return launch.args.sharing == WgmmaSharing::kCluster
             ? launch_wgmma_kernel<kTokens, kType, kGroup, true>(launch, x, stream)
             : launch_wgmma_kernel<kTokens, kType, kGroup, false>(launch, x, stream);
}

template <Half kType, int kGroup>
int launch_wgmma_tokens(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  switch (launch.tokens) {
    case 8:
      return launch_wgmma_sharing<8, kType, kGroup>(launch, x, stream);
    case 16:
      return launch_wgmma_sharing<16, kType, kGroup>(launch, x, stream);
    case 32:
      return launch_wgmma_sharing<32, kType, kGroup>(launch, x, stream);
    case 64:
      return launch_wgmma_sharing<64, kType, kGroup>(launch, x, stream);
    default:
      return launch_wgmma_kernel<128, kType, kGroup, false>(launch, x, stream);
  }
}

}  // namespace awq::kernels::cuda
