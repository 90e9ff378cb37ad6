#pragma once

#include "kernels/cuda/w4_wgmma_store.cuh"
#include "kernels/cuda/w4_wide_consume.cuh"

namespace awq::kernels::cuda {

/// What a warpgroup of the wide form does with the sums of a leaf in stripes: adds them to those before, which lie in
/// shared memory or come from the block before, and keeps the sum, hands it on or stores it.
template <int kTokens, Half kType>
struct WideStripes {
  static constexpr int kVectors = kTokens / 8;  ///< of a thread

  const WgmmaArgs& args;
  float4* memory;         ///< of the warpgroup: sums of earlier leaves
  std::uint32_t scratch;  ///< the same
  int warpgroup;

  __device__ __forceinline__ WideStripes(const WgmmaArgs& arguments, std::uint8_t* sums, std::uint32_t address,
                                         int group)
      : args(arguments),
        memory(reinterpret_cast<float4*>(sums) + group * (kVectors * 128)),
        scratch(address + group * (kVectors * 128 * 16)),
        warpgroup(group) {}

  __device__ __forceinline__ void add_earlier(float (&sum)[kTokens / 2], const float4* from) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const float4 t = from[i * 128];
      sum[4 * i] = __fadd_rn(t.x, sum[4 * i]);
      sum[4 * i + 1] = __fadd_rn(t.y, sum[4 * i + 1]);
      sum[4 * i + 2] = __fadd_rn(t.z, sum[4 * i + 2]);
      sum[4 * i + 3] = __fadd_rn(t.w, sum[4 * i + 3]);
    }
  }
  __device__ __forceinline__ void put(const float (&sum)[kTokens / 2], float4* to) const {
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      to[i * 128] = make_float4(sum[4 * i], sum[4 * i + 1], sum[4 * i + 2], sum[4 * i + 3]);
    }
  }
  /// Where block `block` leaves the warpgroup's sums of the beginning of a tile.
  __device__ __forceinline__ float4* handed_on(int block) const {
    return args.partial + (static_cast<std::int64_t>(block) * kWideWarpgroups + warpgroup) * (kVectors * 128);
  }
  __device__ __forceinline__ std::uint32_t* ready(int block) const {
    return args.ready + kWideWarpgroups * block + warpgroup;
  }

  __device__ __forceinline__ void end_leaf(float (&sum)[kTokens / 2], const WgmmaPart& part, int leaf) const {
    const int block = static_cast<int>(blockIdx.x);
    const int thread = ptx::thread_here() & 127;
    float4* sums = memory + thread;
    if (leaf > part.leaf_begin) {
      add_earlier(sum, sums);
    } else if (leaf > 0) {  // the block before us began this tile
      if (thread == 0) {
        while (ptx::load_acquire(ready(block - 1)) == 0) {
        }
        *ready(block - 1) = 0;
      }
      warpgroup_barrier(warpgroup);
      add_earlier(sum, handed_on(block - 1) + thread);
    }
    if (leaf + 1 == args.leaves) {
      wgmma_store<kTokens, kType>(args, sum, part.column * kWideRows + warpgroup * 64, part.token_tile * kTokens,
                                  scratch, warpgroup, thread);
    } else if (leaf + 1 == part.leaf_end) {
      put(sum, handed_on(block) + thread);
      __threadfence();
      warpgroup_barrier(warpgroup);
      if (thread == 0) ptx::store_release(ready(block), 1);
    } else {
      put(sum, sums);
    }
  }
};

}  // namespace awq::kernels::cuda
