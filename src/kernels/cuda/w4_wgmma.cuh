#pragma once

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/w4_dequant.cuh"
#include "kernels/cuda/w4_wgmma.h"

/// Two warpgroups of consumers, 64 rows of the weight each, and a producer. A stage holds 128 inputs: kTokens x 128
/// activations and four units of the stream.
namespace awq::kernels::cuda {

inline constexpr int kProducerThread = 256;
inline constexpr int kTurnBarrier = 3;  ///< and 4: named barriers; 1 and 2 are the warpgroups' own
/// The large form gives the producer a warpgroup, so that it can hand its registers to the consumers.
template <int kTokens>
inline constexpr int kWgmmaThreads = wgmma_small(kTokens) ? 288 : 384;

/// Codes of 128 inputs of this thread's two rows, as they are stored.
template <Half kType, int kGroup>
struct WgmmaCodes {
  static constexpr int kGroups = 128 / kGroup;
  uint4 codes[2];
  std::uint32_t zero[kGroups];   ///< byte of zero points
  std::uint32_t scale[kGroups];  ///< two F16

  /// `at` is this thread's first vector of codes, `record` the slab's scales.
  __device__ __forceinline__ void load(std::uint32_t at, std::uint32_t record, int g) {
    codes[0] = ptx::load_shared_16(at);
    codes[1] = ptx::load_shared_16(at + 512);
#pragma unroll
    for (int q = 0; q < kGroups; ++q) {
      scale[q] = ptx::load_shared_4(record + q * 32 + g * 4);
      zero[q] = ptx::load_shared_1(record + kGroups * 32 + q * 8 + g);
    }
  }
};

/// The same as A fragments.
template <Half kType, int kGroup>
struct WgmmaFragments {
  float2 scale[128 / kGroup];
  std::uint32_t a[8][4];

  /// Makes the fragments of group q.
  __device__ __forceinline__ void expand(const WgmmaCodes<kType, kGroup>& from, int q) {
    const ZeroConstants zero = zero_constants<kType>(from.zero[q]);
    scale[q] = ptx::widen_f16(from.scale[q]);
#pragma unroll
    for (int j = q * (kGroup / 16); j < (q + 1) * (kGroup / 16); ++j) {
      expand_codes<kType>(word_of(from.codes[j >> 2], j & 3), zero, a[j]);
    }
  }
  __device__ __forceinline__ void keep(int q) {
#pragma unroll
    for (int j = q * (kGroup / 16); j < (q + 1) * (kGroup / 16); ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) ptx::keep(a[j][r]);
    }
  }
};

struct WgmmaRing {
  int stage = 0;
  std::uint32_t parity = 0;
  template <int kStages>
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

__device__ __forceinline__ void warpgroup_barrier(int warpgroup) {
  if (warpgroup == 0) {
    ptx::named_barrier<1, 128>();
  } else {
    ptx::named_barrier<2, 128>();
  }
}

template <int kTokens, int kGroup, bool kCluster>
__device__ __forceinline__ void wgmma_produce(const WgmmaArgs& args, const CUtensorMap& x, std::uint32_t base) {
  constexpr WgmmaMemory memory{kTokens, kGroup, kCluster};
  constexpr int kStages = memory.stages();
  const bool pairs = args.sharing == WgmmaSharing::kStripesPairs;
  const int rank = args.cluster > 1 ? static_cast<int>(ptx::cluster_rank()) : 0;
  const std::uint64_t policy = ptx::evict_first();
  const std::uint8_t* from = nullptr;  // of the next codes
  int column = 0;                      // of the next activations
  int row = 0;

  const auto copy_weights = [&](int stage) {
    const std::uint32_t full = base + memory.barriers_at() + 16 * stage;
    const std::uint32_t to = base + memory.weights_at() + stage * memory.weight_bytes();
    ptx::barrier_expect(full, kTokens * 256 + memory.weight_bytes());
    ptx::copy_bulk(to, from, memory.weight_bytes(), full, policy);
    from += memory.weight_bytes();
  };
  const auto copy_tokens = [&](int stage) {
    const std::uint32_t to = base + stage * memory.x_bytes();
    const std::uint32_t full = base + memory.barriers_at() + 16 * stage;
    if (pairs) {
      ptx::copy_box_multicast(to + rank * kTokens * 128, &x, column + rank * 64, row, full, 3);
    } else {
      ptx::copy_box(to, &x, column, row, full);
      ptx::copy_box(to + kTokens * 128, &x, column + 64, row, full);
    }
    column += 128;
  };

  WgmmaWalk walk(args, static_cast<int>(blockIdx.x) / args.cluster, static_cast<int>(gridDim.x) / args.cluster);
  WgmmaPart part;
  WgmmaRing ring{0, 1};
  bool first = true;
#pragma unroll 1
  while (walk.next(rank, part)) {
    int step = w4_leaf_begin(part.leaf_begin, args.steps, args.leaves);
    const int end = w4_leaf_begin(part.leaf_end, args.steps, args.leaves);
    int strip = pairs ? part.column * 2 + rank : part.column;
    const int last_strip = (args.n + 127) / 128 - 1;
    if (strip > last_strip) strip = last_strip;  // the second of an odd number of tiles: computed, not stored
    from = args.weight + (static_cast<std::int64_t>(strip) * args.steps + step) * memory.weight_bytes();
    column = step * 128;
    row = part.token_tile * kTokens;
    if (first) {
      // The codes of the first stages do not depend on earlier kernels: they are under way before the activations
      // exist.
      first = false;
      const int early = end - step < kStages ? end - step : kStages;
#pragma unroll 1
      for (int i = 0; i < early; ++i) copy_weights(i);
      ptx::wait_for_earlier_kernel();
#pragma unroll 1
      for (int i = 0; i < early; ++i) copy_tokens(i);
      step += early;
      ring.stage = early == kStages ? 0 : early;
      ring.parity = early == kStages ? 0 : 1;
    }
#pragma unroll 1
    for (; step < end; ++step) {
      const std::uint32_t empty = base + memory.barriers_at() + 16 * ring.stage + 8;
      if (pairs) {
        ptx::barrier_wait_cluster(empty, ring.parity);
      } else {
        ptx::barrier_wait(empty, ring.parity);
      }
      copy_weights(ring.stage);
      copy_tokens(ring.stage);
      ring.advance<kStages>();
    }
  }
  ptx::let_next_kernel_start();
}

/// Rounds a tile of sums (in the order of the accumulators) and stores it: through shared memory, so that rows of y
/// leave in whole lines. `scratch` has room for kTokens rows of 144 bytes and belongs to this warpgroup.
template <int kTokens, Half kType>
__device__ __forceinline__ void wgmma_store(const WgmmaArgs& args, const float (&sum)[kTokens / 2], int row, int token,
                                            std::uint32_t scratch, int warpgroup) {
  const int th = static_cast<int>(threadIdx.x) & 127;
  const int warp = th >> 5;
  const int lane = th & 31;
  const int n = row + warp * 16 + (lane >> 2);
  float bias_low = 0;
  float bias_high = 0;
  if (args.bias != nullptr) {
    if (n < args.n) bias_low = args.bias[n];
    if (n + 8 < args.n) bias_high = args.bias[n + 8];
  }
  warpgroup_barrier(warpgroup);  // nobody reads sums from the scratch any more
#pragma unroll
  for (int i = 0; i < kTokens / 8; i += 2) {
    std::uint32_t r[4];
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int at = i + j < kTokens / 8 ? 4 * (i + j) : 4 * i;
      r[2 * j] = ptx::pack_halves<kType>(__fadd_rn(sum[at], bias_low), __fadd_rn(sum[at + 1], bias_low));
      r[2 * j + 1] = ptx::pack_halves<kType>(__fadd_rn(sum[at + 2], bias_high), __fadd_rn(sum[at + 3], bias_high));
    }
    // Matrices: tokens 8 i, rows 0-7 and 8-15 of the warp, then tokens 8 (i + 1). With 8 tokens the second pair
    // repeats the first, at the same place.
    const int tile = kTokens == 8 ? 0 : i + (lane >> 4);
    const std::uint32_t to = scratch + (8 * tile + (lane & 7)) * 144 + warp * 32 + ((lane >> 3) & 1) * 16;
    ptx::store_matrices_transposed(to, r[0], r[1], r[2], r[3]);
  }
  warpgroup_barrier(warpgroup);
  auto* y = static_cast<std::uint16_t*>(args.y);
  const bool whole = row + 64 <= args.n && (args.n & 7) == 0;
#pragma unroll
  for (int i = 0; i < kTokens * 8 / 128 + (kTokens == 8 ? 1 : 0); ++i) {
    const int piece = i * 128 + th;
    const int t = piece >> 3;
    const int c = piece & 7;
    if (t >= kTokens || token + t >= args.m) continue;
    const uint4 v = ptx::load_shared_16(scratch + t * 144 + c * 16);
    std::uint16_t* to = y + static_cast<std::int64_t>(token + t) * args.n + row + c * 8;
    if (whole) {
      *reinterpret_cast<uint4*>(to) = v;
    } else {
      std::uint16_t h[8];
      memcpy(h, &v, 16);
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        if (row + c * 8 + e < args.n) to[e] = h[e];
      }
    }
  }
  warpgroup_barrier(warpgroup);  // before the scratch holds sums again
}

template <int kTokens, Half kType, int kGroup, bool kCluster>
struct WgmmaConsumer {
  static constexpr int kValues = kTokens / 2;  ///< sums of a thread
  static constexpr int kGroups = 128 / kGroup;
  using Codes = WgmmaCodes<kType, kGroup>;
  using Fragments = WgmmaFragments<kType, kGroup>;

  static constexpr WgmmaMemory kMemory{kTokens, kGroup, kCluster};
  static constexpr int kStages = kMemory.stages();

  const WgmmaArgs& args;
  std::uint32_t base;  ///< of shared memory
  int warpgroup, thread, warp, lane;
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
    warp = thread >> 5;
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

  /// Products of one stage from `now`. The large form makes the fragments of the next stage from `codes` while they
  /// run, and then loads the codes of the stage after that, or of the last one, `ahead` stages on; the small form has
  /// `codes` of this stage and makes its fragments just before their products.
  __device__ __forceinline__ void step(Fragments& now, Fragments& next, Codes& codes, int ahead) {
    constexpr bool kAhead = !wgmma_small(kTokens);
    constexpr bool kTurns = wgmma_turns(kTokens, kGroup);
    const int stage = ring.stage;
    const WgmmaRing here = ring;
    ring.template advance<kStages>();
    const std::uint32_t x = ptx::wgmma_descriptor(base + stage * kMemory.x_bytes());
#pragma unroll
    for (int q = 0; q < kGroups; ++q) {
      if constexpr (!kAhead) now.expand(codes, q);
      keep_product();
      now.keep(q);
      if constexpr (kTurns) ptx::barrier_sync<256>(kTurnBarrier + warpgroup);
      ptx::wgmma_fence();
#pragma unroll
      for (int j = q * (kGroup / 16); j < (q + 1) * (kGroup / 16); ++j) {
        ptx::Wgmma<kTokens, kType>::run(product, now.a[j], x + (j >> 2) * (kTokens * 128 / 16) + (j & 3) * 2,
                                        j > q * (kGroup / 16));
      }
      ptx::wgmma_commit();
      if constexpr (kTurns) ptx::barrier_arrive_only<256>(kTurnBarrier + (warpgroup ^ 1));
      if constexpr (kAhead) {
        next.expand(codes, q);
        next.keep(q);
        if (q == kGroups - 1) {
          WgmmaRing then = here;
          if (ahead > 0) then.template advance<kStages>();
          if (ahead > 1) then.template advance<kStages>();
          fetch(codes, then.stage, then.parity);
        }
      }
      ptx::wgmma_wait<0>();
      keep_product();
      now.keep(q);
      if (q == kGroups - 1 && lane == 0) {
        if (!kCluster && args.sharing == WgmmaSharing::kStripesPairs) {
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
    if constexpr (kCluster) {
      put(sums + (leaf - part.leaf_begin) * (kMemory.sum_bytes() / 16));
    } else {
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
                                    warpgroup);
      } else if (leaf + 1 == part.leaf_end) {
        put(handed_on(static_cast<int>(blockIdx.x)));
        __threadfence();
        barrier();
        if (thread == 0) ptx::store_release(args.ready + 2 * blockIdx.x + warpgroup, 1);
      } else {
        put(sums);
      }
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
    Codes codes;
    fetch(codes, ring.stage, ring.parity);
    if constexpr (wgmma_small(kTokens)) {  // other blocks' warps work while these expand codes
#pragma unroll 1
      for (int k = begin; k < end; ++k) {
        if (k > begin) fetch(codes, ring.stage, ring.parity);
        step(even, even, codes, 0);
        after(k);
      }
    } else {
      Fragments odd;
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
  }

  /// Adds the leaves of all blocks of the cluster, in their order, and stores: 16 rows and 8 tokens per warp and turn.
  __device__ __forceinline__ void reduce_cluster(const WgmmaPart& part) const {
    auto* y = static_cast<std::uint16_t*>(args.y);
    const std::uint32_t own = base + kMemory.sums_at();
    for (int item = static_cast<int>(rank) + args.cluster * (warpgroup * 4 + warp); item < kTokens;
         item += 8 * args.cluster) {
      const int i = item >> 3;  // tokens 8 i ..
      const int w = item & 7;   // warp whose rows these are
      const std::uint32_t slot = own + ((w >> 2) * (kTokens / 8 * 128) + i * 128 + (w & 3) * 32 + lane) * 16;
      float4 t{};
      for (int leaf = 0, block = 0; block < args.cluster; ++block) {
        const int end = (block + 1) * args.leaves / args.cluster;
        for (int local = 0; leaf < end; ++leaf, ++local) {
          const float4 v = ptx::load_remote(slot + local * kMemory.sum_bytes(), block);
          t = leaf == 0
                  ? v
                  : make_float4(__fadd_rn(t.x, v.x), __fadd_rn(t.y, v.y), __fadd_rn(t.z, v.z), __fadd_rn(t.w, v.w));
        }
      }
      const float f[4] = {t.x, t.y, t.z, t.w};
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int n = part.column * 128 + w * 16 + (lane >> 2) + 8 * (c >> 1);
        const int token = part.token_tile * kTokens + 8 * i + 2 * (lane & 3) + (c & 1);
        if (n < args.n && token < args.m) {
          const float bias = args.bias != nullptr ? args.bias[n] : 0.0F;
          y[static_cast<std::int64_t>(token) * args.n + n] = ptx::to_half<kType>(__fadd_rn(f[c], bias));
        }
      }
    }
  }
};

template <int kTokens, Half kType, int kGroup, bool kCluster>
__global__ void __launch_bounds__(kWgmmaThreads<kTokens>, wgmma_blocks_together(kTokens))
    w4_wgmma_kernel(const __grid_constant__ CUtensorMap x, const __grid_constant__ WgmmaArgs args) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // other targets hold an empty kernel that the table never starts
  extern __shared__ __align__(1024) std::uint8_t shared[];
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
  const auto kernel = w4_wgmma_kernel<kTokens, kType, kGroup, kCluster>;
  constexpr WgmmaMemory kMemory{kTokens, kGroup, kCluster};
  static const cudaError_t allowed =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kMemory.bytes());
  if (allowed != cudaSuccess) return allowed;
  cudaLaunchAttribute attributes[2]{};
  unsigned count = 0;
  if (launch.args.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim = {static_cast<unsigned>(launch.args.cluster), 1, 1};
    ++count;
  }
  if (overlap_allowed()) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count].val.programmaticStreamSerializationAllowed = 1;
    ++count;
  }
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(launch.blocks));
  config.blockDim = dim3(kWgmmaThreads<kTokens>);
  config.dynamicSmemBytes = static_cast<std::size_t>(kMemory.bytes());
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  return cudaLaunchKernelEx(&config, kernel, x, launch.args);
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
