#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/w4_split.cuh"
#include "kernels/cuda/w4_wide_produce.cuh"
#include "kernels/cuda/w4_wide_stripes.cuh"

/// Four warpgroups of consumers and one of which a thread copies (w4_wide.h).
namespace awq::kernels::cuda {

inline constexpr int kWideProducer = 128 * kWideWarpgroups;
inline constexpr int kWideThreads = kWideProducer + 128;

template <int kTokens, Half kType, int kGroup, bool kSplit>
__global__ void __launch_bounds__(kWideThreads, 1)
    w4_wide_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ WgmmaArgs args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // other targets hold an empty kernel that the table never starts
  AWQ_DYNAMIC_SHARED(shared, 1024);
  constexpr WideMemory kMemory{kTokens, kGroup, kSplit};
  const std::uint32_t base = ptx::shared_address(shared);
  const int warpgroup = __shfl_sync(0xffffffffU, static_cast<int>(threadIdx.x) >> 7, 0);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kMemory.stages(); ++i) {
      ptx::barrier_init(base + i * kMemory.stage_bytes() + kMemory.full_at(), 1);
      ptx::barrier_init(base + i * kMemory.stage_bytes() + kMemory.empty_at(),
                        4 * kWideWarpgroups * ptx::kWarpArrivals);
    }
    ptx::barrier_init_fence();
  }
  const int blocks = kSplit ? args.cluster : 1;  // of a tile
  const int worker = static_cast<int>(blockIdx.x) / blocks;
  const int rank = static_cast<int>(blockIdx.x) - worker * blocks;
  WgmmaWalk walk(args, worker, static_cast<int>(gridDim.x) / blocks);
  __syncthreads();
  // The block is started with 96 registers for each of 640 threads.
  if (warpgroup == kWideWarpgroups) {
    ptx::give_registers<32>();
    if (threadIdx.x == kWideProducer) wide_produce<kTokens, kGroup, kSplit>(args, x, base, walk, rank);
    return;
  }
  ptx::take_registers<112>();
  WideConsumer<kTokens, kType, kGroup, kSplit> consumer(base, warpgroup);
  const auto run_part = [&](const WgmmaPart& part, const auto& sharing) {
    int step = w4_leaf_begin(part.leaf_begin, args.steps, args.leaves);
    const int part_end = w4_leaf_begin(part.leaf_end, args.steps, args.leaves);
    consumer.begin();
#pragma unroll 1
    for (int leaf = part.leaf_begin; leaf < part.leaf_end; ++leaf) {
      const int leaf_end = w4_leaf_begin(leaf + 1, args.steps, args.leaves);
#pragma unroll 1
      while (step < leaf_end) {
        ++step;
        consumer.step(step < part_end);
      }
      sharing.end_leaf(consumer.leaf_sum, part, leaf);
      consumer.clear();
    }
  };
  WgmmaPart part;
  if constexpr (kSplit) {
    const Split<kTokens, kType, kWideWarpgroups> sharing(args, warpgroup, worker);
    walk.next(rank, part);
    run_part(part, sharing);
    sharing.reduce(part, rank);
  } else {
    const WideStripes<kTokens, kType> sharing(args, shared + kMemory.sums_at(), base + kMemory.sums_at(), warpgroup);
#pragma unroll 1
    while (walk.next(rank, part)) run_part(part, sharing);
  }
#endif
}

template <int kTokens, Half kType, int kGroup, bool kSplit>
int launch_wide_kernel(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  constexpr auto kKernel = w4_wide_kernel<kTokens, kType, kGroup, kSplit>;
  constexpr WideMemory kMemory{kTokens, kGroup, kSplit};
  if (const int status = allow_shared_bytes<kKernel>(kMemory.bytes(), Carveout::kDriver); status != 0) return status;
  // Blocks of a tile wait for each other.
  return cuda::launch(kKernel, dim3(static_cast<unsigned>(launch.blocks)), kWideThreads, kMemory.bytes(), stream,
                      LaunchTraits{.together = kSplit}, x, launch.args);
}

template <int kTokens, Half kType, int kGroup>
int launch_wide_sharing(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  return launch.args.sharing == WgmmaSharing::kSplit
             ? launch_wide_kernel<kTokens, kType, kGroup, true>(launch, x, stream)
             : launch_wide_kernel<kTokens, kType, kGroup, false>(launch, x, stream);
}

template <Half kType, int kGroup>
int launch_wide_tokens(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  switch (launch.tokens) {
    case 16:
      return launch_wide_sharing<16, kType, kGroup>(launch, x, stream);
    case 32:
      return launch_wide_sharing<32, kType, kGroup>(launch, x, stream);
    default:
      return launch_wide_sharing<64, kType, kGroup>(launch, x, stream);
  }
}

template <Half kType>
int launch_wide_group(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  switch (launch.group_size) {
    case 32:
      return launch_wide_tokens<kType, 32>(launch, x, stream);
    case 64:
      return launch_wide_tokens<kType, 64>(launch, x, stream);
    default:
      return launch_wide_tokens<kType, 128>(launch, x, stream);
  }
}

}  // namespace awq::kernels::cuda
