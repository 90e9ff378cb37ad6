#pragma once

#include "kernels/cuda/w4_wgmma_fragments.cuh"

namespace awq::kernels::cuda {

/// What one of kWarpgroups warpgroups of a block does with the sums of a leaf where several blocks share a tile: leaves
/// them in global memory, each leaf in a place of its own. When all of the tile are there, each of the blocks adds up a
/// part of the tile and stores it. Warpgroups that hold the same rows wait for each other and for nobody else.
template <int kTokens, Half kType, int kWarpgroups>
struct Split {
  static constexpr int kVectors = kTokens / 8;   ///< of a thread
  static constexpr int kItems = kVectors * 128;  ///< vectors of a warpgroup's rows: tokens 8 (item / 128) ..

  const WgmmaArgs& args;
  int warpgroup;
  int tile;

  __device__ __forceinline__ Split(const WgmmaArgs& arguments, int group, int index)
      : args(arguments), warpgroup(group), tile(index) {}

  __device__ __forceinline__ float4* place(int leaf) const {
    return args.partial + (static_cast<std::int64_t>(tile * args.leaves + leaf) * kWarpgroups + warpgroup) * kItems;
  }
  __device__ __forceinline__ float bias_of(int n) const {
    return args.bias != nullptr && n < args.n ? args.bias[n] : 0.0F;
  }
  /// Vectors that hold tokens of the problem.
  __device__ __forceinline__ int vectors(const WgmmaPart& part) const {
    return min((args.m - part.token_tile * kTokens + 7) / 8, kVectors);
  }

  __device__ __forceinline__ void end_leaf(const float (&sum)[kTokens / 2], const WgmmaPart& part, int leaf) const {
    float4* to = place(leaf) + (ptx::thread_here() & 127);
    const int filled = vectors(part);
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      if (i < filled) to[i * 128] = make_float4(sum[4 * i], sum[4 * i + 1], sum[4 * i + 2], sum[4 * i + 3]);
    }
  }

  /// Counts the warpgroups with these rows of all blocks of the tile that have come, then those that have left. Zero
  /// between launches.
  __device__ __forceinline__ std::uint32_t* counter() const { return args.ready + kWarpgroups * tile + warpgroup; }
  /// Until all have left their sums.
  __device__ __forceinline__ void wait_for_all(int thread) const {
    warpgroup_barrier(warpgroup);
    if (thread == 0) {  // its release and acquire count for all that the barriers order before and after it
      ptx::add_release(counter(), 1);
      while (ptx::load_acquire(counter()) < static_cast<std::uint32_t>(args.cluster)) {
      }
    }
    warpgroup_barrier(warpgroup);
  }
  /// When all have seen the counter, the last one clears it.
  __device__ __forceinline__ void leave(int thread) const {
    if (thread == 0 && atomicAdd(counter(), 1U) == 2 * static_cast<std::uint32_t>(args.cluster) - 1) *counter() = 0;
  }

  /// Adds up the leaves of this block's part of the tile, in their order, and stores it.
  __device__ __forceinline__ void reduce(const WgmmaPart& part, int rank) const {
    const int thread = ptx::thread_here() & 127;
    auto* y = static_cast<std::uint16_t*>(args.y);
    const int all = vectors(part) * 128;
    const int share = (all + args.cluster - 1) / args.cluster;
    const int end = min((rank + 1) * share, all);
    const float4* from = place(0);
    wait_for_all(thread);
#pragma unroll 1
    for (int item = rank * share + thread; item < end; item += 128) {
      const int row = part.column * (kWarpgroups * 64) + warpgroup * 64 + (item >> 5 & 3) * 16 + (item >> 2 & 7);
      const int token = part.token_tile * kTokens + (item >> 7) * 8 + (item & 3) * 2;
      const float bias[2] = {bias_of(row), bias_of(row + 8)};
      float4 v[8];  // the most leaves there are
#pragma unroll
      for (int leaf = 0; leaf < 8; ++leaf) {
        if (leaf < args.leaves) v[leaf] = __ldcg(from + leaf * (kWarpgroups * kItems) + item);
      }
      float4 t = v[0];
#pragma unroll
      for (int leaf = 1; leaf < 8; ++leaf) {
        if (leaf < args.leaves) {
          t = make_float4(__fadd_rn(t.x, v[leaf].x), __fadd_rn(t.y, v[leaf].y), __fadd_rn(t.z, v[leaf].z),
                          __fadd_rn(t.w, v[leaf].w));
        }
      }
      const float f[4] = {t.x, t.y, t.z, t.w};
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int n = row + 8 * (c >> 1);
        if (n < args.n && token + (c & 1) < args.m) {
          y[static_cast<std::int64_t>(token + (c & 1)) * args.n + n] =
              ptx::to_half<kType>(__fadd_rn(f[c], bias[c >> 1]));
        }
      }
    }
    leave(thread);
  }
};

}  // namespace awq::kernels::cuda
