#pragma once

#include "kernels/cuda/w4_wgmma_fragments.cuh"
#include "kernels/cuda/w4_wgmma_store.cuh"

/// What a warpgroup of consumers does.
namespace awq::kernels::cuda {

inline constexpr int kTurnBarrier = 3;  ///< and 4: named barriers; 1 and 2 are the warpgroups' own

template <int kTokens, Half kType, int kGroup>
struct WgmmaConsumer {
  static constexpr int kValues = kTokens / 2;  ///< sums of a thread
  static constexpr int kGroups = 128 / kGroup;
  /// The two warpgroups take turns on the tensor cores, so that one expands codes while the other multiplies.
  static constexpr bool kTurns = kGroup == 128;
  using Codes = WgmmaCodes<kType, kGroup>;
  using Fragments = WgmmaFragments<kType, kGroup>;

  static constexpr WgmmaMemory kMemory{kTokens, kGroup};
  static constexpr int kStages = kMemory.stages();

  const WgmmaArgs& args;
  std::uint32_t base;  ///< of shared memory
  int warpgroup, thread, lane;
  std::uint32_t rank;
  float4* sums;                       ///< this thread's slot of tokens 8 i ..: sums[i * 128]
  std::uint32_t codes_at, record_at;  ///< this thread's codes and its slab's scales in stage 0
  int g;                              ///< row of the slab
  WgmmaRing ring;
  float product[kValues];  ///< of the group under way
  float leaf_sum[kValues];

  __device__ __forceinline__ WgmmaConsumer(const WgmmaArgs& arguments, std::uint8_t* shared, std::uint32_t address)
      : args(arguments), base(address) {
    thread = static_cast<int>(threadIdx.x) & 127;
    warpgroup = __shfl_sync(0xffffffffU, static_cast<int>(threadIdx.x) >> 7, 0);
    const int warp = thread >> 5;
    lane = static_cast<int>(ptx::keep_value(thread & 31));
    rank = args.cluster > 1 ? ptx::cluster_rank() : 0;
    sums = reinterpret_cast<float4*>(shared + kMemory.sums_at()) + warpgroup * (kTokens / 8 * 128) + thread;
    const int rows16 = warpgroup * 4 + warp;
    const std::uint32_t weights = base + kMemory.weights_at();
    codes_at = ptx::keep_value(weights + rows16 * kMemory.slab_bytes() + lane * 16);
    record_at = ptx::keep_value(weights + rows16 * kMemory.slab_bytes() + 1024);
    g = static_cast<int>(ptx::keep_value(lane >> 2));
#pragma unroll
    for (int i = 0; i < kValues; ++i) leaf_sum[i] = 0.0F;
  }

  __device__ __forceinline__ std::uint32_t full(int stage) const { return base + kMemory.barriers_at() + 16 * stage; }
  __device__ __forceinline__ void fetch(Codes& to, int stage, std::uint32_t parity) {
    ptx::barrier_wait(full(stage), parity);
    const std::uint32_t at = stage * kMemory.weight_bytes();
    to.load(codes_at + at, record_at + at, g);
  }
  __device__ __forceinline__ void keep_product() {
#pragma unroll
    for (int i = 0; i < kValues; ++i) ptx::keep(product[i]);
  }

  /// Products of one stage from `now`. While they run, makes the fragments of the next stage from `codes`, and then
  /// loads the codes of the stage after that, or of the last one, `ahead` stages on.
  __device__ __forceinline__ void step(Fragments& now, Fragments& next, Codes& codes, int ahead) {
    const int stage = ring.stage;
    const WgmmaRing here = ring;
    ring.template advance<kStages>();
    const std::uint32_t x = ptx::wgmma_descriptor(base + stage * kMemory.x_bytes());
#pragma unroll
    for (int q = 0; q < kGroups; ++q) {
      keep_product();
      now.keep(q);
      if constexpr (kTurns) ptx::barrier_sync<256>(kTurnBarrier + warpgroup);
      ptx::wgmma_fence();
#pragma unroll
      for (int j = q * (kGroup / 16); j < (q + 1) * (kGroup / 16); ++j) {
        ptx::Wgmma<kTokens, kType>::run(product, now.a[j],
                                        ptx::whole_descriptor(x + (j >> 2) * (kTokens * 128 / 16) + (j & 3) * 2),
                                        j > q * (kGroup / 16));
      }
      ptx::wgmma_commit();
      if constexpr (kTurns) ptx::barrier_arrive_only<256>(kTurnBarrier + (warpgroup ^ 1));
      next.expand(codes, q);
      next.keep(q);
      if (q == kGroups - 1) {
        WgmmaRing then = here;
        if (ahead > 0) then.template advance<kStages>();
        if (ahead > 1) then.template advance<kStages>();
        fetch(codes, then.stage, then.parity);
      }
      ptx::wgmma_wait<0>();
      keep_product();
      now.keep(q);
      if (q == kGroups - 1 && lane == 0) {
        if (args.sharing == WgmmaSharing::kStripesPairs) {
          ptx::barrier_arrive_remote(full(stage) + 8, 0);
          ptx::barrier_arrive_remote(full(stage) + 8, 1);
        } else {
          ptx::barrier_arrive(full(stage) + 8);
        }
      }
      const float2 scale = now.scale[q];
#pragma unroll
      for (int i = 0; i < kValues; ++i) {
        leaf_sum[i] = __fmaf_rn((i & 2) != 0 ? scale.y : scale.x, product[i], leaf_sum[i]);
      }
    }
  }

  /// leaf_sum += what came before it: sums of earlier leaves in shared memory, or of another block.
  __device__ __forceinline__ void add_earlier(const float4* from) {
#pragma unroll
    for (int i = 0; i < kTokens / 8; ++i) {
      const float4 t = from[i * 128];
      leaf_sum[4 * i] = __fadd_rn(t.x, leaf_sum[4 * i]);
      leaf_sum[4 * i + 1] = __fadd_rn(t.y, leaf_sum[4 * i + 1]);
      leaf_sum[4 * i + 2] = __fadd_rn(t.z, leaf_sum[4 * i + 2]);
      leaf_sum[4 * i + 3] = __fadd_rn(t.w, leaf_sum[4 * i + 3]);
    }
  }
  __device__ __forceinline__ void put(float4* to) const {
#pragma unroll
    for (int i = 0; i < kTokens / 8; ++i) {
      to[i * 128] = make_float4(leaf_sum[4 * i], leaf_sum[4 * i + 1], leaf_sum[4 * i + 2], leaf_sum[4 * i + 3]);
    }
  }
  /// Where block `block` leaves this thread's sums of the beginning of a tile.
  __device__ __forceinline__ float4* handed_on(int block) const {
    return args.partial + (static_cast<std::int64_t>(block) * 2 + warpgroup) * (kTokens / 8 * 128) + thread;
  }
  __device__ __forceinline__ void barrier() const { warpgroup_barrier(warpgroup); }

  /// Ends leaf `leaf` of `part`.
  __device__ __forceinline__ void end_leaf(const WgmmaPart& part, int leaf) {
    if (leaf > part.leaf_begin) {
      add_earlier(sums);
    } else if (leaf > 0) {  // the block before us (of the same rank) began this tile
      const int from = static_cast<int>(blockIdx.x) - args.cluster;
      std::uint32_t* ready = args.ready + 2 * from + warpgroup;
      if (thread == 0) {
        while (ptx::load_acquire(ready) == 0) {
        }
        *ready = 0;
      }
      barrier();
      add_earlier(handed_on(from));
    }
    if (leaf + 1 == args.leaves) {
      const int column =
          args.sharing == WgmmaSharing::kStripesPairs ? 2 * part.column + static_cast<int>(rank) : part.column;
      const std::uint32_t scratch = base + kMemory.sums_at() + warpgroup * (kMemory.sum_bytes() / 2);
      wgmma_store<kTokens, kType>(args, leaf_sum, column * 128 + warpgroup * 64, part.token_tile * kTokens, scratch,
                                  warpgroup, thread);
    } else if (leaf + 1 == part.leaf_end) {
      put(handed_on(static_cast<int>(blockIdx.x)));
      __threadfence();
      barrier();
      if (thread == 0) ptx::store_release(args.ready + 2 * blockIdx.x + warpgroup, 1);
    } else {
      put(sums);
    }
#pragma unroll
    for (int i = 0; i < kValues; ++i) leaf_sum[i] = 0.0F;
  }

  __device__ __forceinline__ void run_part(const WgmmaPart& part) {
    const int begin = w4_leaf_begin(part.leaf_begin, args.steps, args.leaves);
    const int end = w4_leaf_begin(part.leaf_end, args.steps, args.leaves);
    int leaf = part.leaf_begin;
    int leaf_end = w4_leaf_begin(leaf + 1, args.steps, args.leaves);
    const auto after = [&](int k) {
      if (k + 1 == leaf_end) {
        end_leaf(part, leaf);
        ++leaf;
        leaf_end = w4_leaf_begin(leaf + 1, args.steps, args.leaves);
      }
    };
    Fragments even;
    Fragments odd;
    Codes codes;
    fetch(codes, ring.stage, ring.parity);
#pragma unroll
    for (int q = 0; q < kGroups; ++q) even.expand(codes, q);
    WgmmaRing second = ring;
    if (begin + 1 < end) second.template advance<kStages>();
    fetch(codes, second.stage, second.parity);
#pragma unroll 1
    for (int k = begin; k < end; k += 2) {
      step(even, odd, codes, end - 1 - k);
      after(k);
      if (k + 1 < end) {
        step(odd, even, codes, end - 2 - k);
        after(k + 1);
      }
    }
  }
};

}  // namespace awq::kernels::cuda
