#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/w4_many_consume.cuh"
#include "kernels/cuda/w4_many_produce.cuh"
#include "kernels/cuda/w4_split.cuh"

/// Three warpgroups of consumers and one of which a thread copies (w4_many.h).
namespace awq::kernels::cuda {

inline constexpr int kManyProducer = 128 * kManyWarpgroups;
inline constexpr int kManyThreads = kManyProducer + 128;

template <Half kType, int kGroup>
__global__ void __launch_bounds__(kManyThreads, 1)
    w4_many_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ WgmmaArgs args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // other targets hold an empty kernel that the table never starts
  AWQ_DYNAMIC_SHARED(shared, 1024);
  constexpr ManyMemory kMemory{kGroup};
  const std::uint32_t base = ptx::shared_address(shared);
  const int warpgroup = __shfl_sync(0xffffffffU, static_cast<int>(threadIdx.x) >> 7, 0);
  if (threadIdx.x == 0) {
    for (int i = 0; i < ManyMemory::kHalves; ++i) {
      const std::uint32_t full = many_half_full<kGroup>(base, i * ManyMemory::kHalfBytes);
      ptx::barrier_init(full, 1);
      ptx::barrier_init(full + 8, 4 * kManyWarpgroups * ptx::kWarpArrivals);
    }
    for (int i = 0; i < kMemory.steps(); ++i) {
      const std::uint32_t at = base + kMemory.weights_at() + i * kMemory.step_bytes();
      ptx::barrier_init(at + kMemory.weight_full_at(), 1);
      ptx::barrier_init(at + kMemory.weight_empty_at(), 4 * kManyWarpgroups * ptx::kWarpArrivals);
    }
    ptx::barrier_init_fence();
  }
  const int tile = static_cast<int>(blockIdx.x) / args.cluster;
  const int rank = static_cast<int>(blockIdx.x) - tile * args.cluster;
  WgmmaPart part;
  WgmmaWalk(args, tile, static_cast<int>(gridDim.x) / args.cluster).next(rank, part);
  __syncthreads();
  // The block is started with 128 registers for each of 512 threads.
  if (warpgroup == kManyWarpgroups) {
    ptx::give_registers<32>();
    if (threadIdx.x == kManyProducer) many_produce<kGroup>(args, x, base, part);
    return;
  }
  ptx::take_registers<160>();
  ManyConsumer<kType, kGroup> consumer(base, warpgroup);
  const Split<kManyTokens, kType, kManyWarpgroups> sharing(args, warpgroup, tile);
  // The sums of a leaf leave when the first products of the next one are on their way.
  int ended = -1;
  const auto end_leaf = [&] {
    if (ended < 0) return;
    sharing.end_leaf(consumer.leaf_sum, part, ended);
    consumer.clear();
    ended = -1;
  };
  int step = w4_leaf_begin(part.leaf_begin, args.steps, args.leaves);
  const int part_end = w4_leaf_begin(part.leaf_end, args.steps, args.leaves);
  consumer.begin();
#pragma unroll 1
  for (int leaf = part.leaf_begin; leaf < part.leaf_end; ++leaf) {
    const int leaf_end = w4_leaf_begin(leaf + 1, args.steps, args.leaves);
#pragma unroll 1
    while (step < leaf_end) {
      ++step;
      consumer.step(step < part_end, end_leaf);
    }
    ended = leaf;
  }
  end_leaf();
  sharing.reduce(part, rank);
#endif
}

template <Half kType, int kGroup>
int launch_many_kernel(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  constexpr auto kKernel = w4_many_kernel<kType, kGroup>;
  constexpr ManyMemory kMemory{kGroup};
  if (const int status = allow_shared_bytes<kKernel>(kMemory.bytes(), Carveout::kDriver); status != 0) return status;
  // Blocks of a tile wait for each other.
  return cuda::launch(kKernel, dim3(static_cast<unsigned>(launch.blocks)), kManyThreads, kMemory.bytes(), stream,
                      LaunchTraits{.together = true}, x, launch.args);
}

template <Half kType>
int launch_many_group(const WgmmaLaunch& launch, const CUtensorMap& x, Stream stream) {
  switch (launch.group_size) {
    case 32:
      return launch_many_kernel<kType, 32>(launch, x, stream);
    case 64:
      return launch_many_kernel<kType, 64>(launch, x, stream);
    default:
      return launch_many_kernel<kType, 128>(launch, x, stream);
  }
}

}  // namespace awq::kernels::cuda
