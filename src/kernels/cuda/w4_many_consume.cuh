#pragma once

#include "kernels/cuda/w4_many_ring.cuh"

/// What a warpgroup of consumers of the form for many tokens does with a step of 128 inputs.
namespace awq::kernels::cuda {

template <Half kType, int kGroup>
struct ManyConsumer {
  static constexpr int kValues = kManyTokens / 2;  ///< sums of a thread
  /// Products of 16 inputs that are issued at once. While they run, the codes of the next ones are expanded into the
  /// registers of those before: two sets are all there is room for.
  static constexpr int kChunk = 2;
  static constexpr int kChunks = 8 / kChunk;
  static constexpr int kChunksOfGroup = kGroup / 16 / kChunk;
  static constexpr ManyMemory kMemory{kGroup};

  std::uint32_t base;                         ///< of shared memory
  std::uint32_t codes_at, scale_at, zero_at;  ///< this thread's in the first step of the ring
  ManyHalves halves;
  ManyWeights<kGroup> weights;
  uint4 codes;  ///< of 64 inputs
  ZeroConstants zero;
  std::uint32_t a[2][kChunk][4];
  float product[kValues];  ///< of the group under way
  float leaf_sum[kValues];

  __device__ __forceinline__ ManyConsumer(std::uint32_t address, int warpgroup) : base(address) {
    const int thread = static_cast<int>(threadIdx.x) & 127;
    const int lane = thread & 31;
    const std::uint32_t slab = address + kMemory.weights_at() + (warpgroup * 4 + (thread >> 5)) * kMemory.slab_bytes();
    codes_at = ptx::keep_value(slab + lane * 16);
    scale_at = ptx::keep_value(slab + 1024 + (lane >> 2) * 4);
    zero_at = ptx::keep_value(slab + 1024 + 128 / kGroup * 32 + (lane >> 2));
    clear();
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kValues; ++i) leaf_sum[i] = 0.0F;
  }
  __device__ __forceinline__ void keep_product() {
#pragma unroll
    for (int i = 0; i < kValues; ++i) ptx::keep(product[i]);
  }
  __device__ __forceinline__ void keep(int chunk) {
#pragma unroll
    for (int j = 0; j < kChunk; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) ptx::keep(a[chunk & 1][j][r]);
    }
  }
  /// Chunk `chunk` of the step that `weights` stands at: loads its codes and zero points when it is the first that they
  /// are needed for, and makes its fragments.
  __device__ __forceinline__ void expand(int chunk) {
    if (chunk % 2 == 0) codes = ptx::load_shared_16(codes_at + weights.at + chunk / 2 * 512);
    if (chunk % kChunksOfGroup == 0) {
      zero = zero_constants<kType>(ptx::load_shared_1(zero_at + weights.at + chunk / kChunksOfGroup * 8));
    }
#pragma unroll
    for (int j = 0; j < kChunk; ++j) {
      expand_codes<kType>(word_of(codes, chunk % 2 * kChunk + j), zero, a[chunk & 1][j]);
    }
    keep(chunk);
  }
  __device__ __forceinline__ void multiply(int chunk, std::uint64_t x) {
    ptx::wgmma_fence();
#pragma unroll
    for (int j = 0; j < kChunk; ++j) {
      ptx::Wgmma<kManyTokens, kType>::run(product, a[chunk & 1][j], x + (chunk % 2 * kChunk + j) * 2,
                                          chunk % kChunksOfGroup != 0 || j != 0);
    }
    ptx::wgmma_commit();
  }
  __device__ __forceinline__ void add_product(std::uint32_t word) {
    const float2 scale = group_scales<kType>(word);
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      leaf_sum[i] = __fmaf_rn((i & 2) != 0 ? scale.y : scale.x, product[i], leaf_sum[i]);
    }
  }
  __device__ __forceinline__ void wait_for_weights() const {
    ptx::barrier_wait(base + kMemory.weights_at() + weights.at + kMemory.weight_full_at(), weights.parity);
  }
  /// Nobody of this warp reads the activations of `half` any more.
  __device__ __forceinline__ void release(std::uint32_t half) const {
    ptx::barrier_arrive_once(many_half_full<kGroup>(base, half) + 8);
  }

  /// Before the first step of a part.
  __device__ __forceinline__ void begin() {
    wait_for_weights();
    expand(0);
  }
  /// Products of a step. `more`: another follows, whose first fragments are made while they run. `meanwhile` is done
  /// with leaf_sum while the first ones run.
  template <class Meanwhile>
  __device__ __forceinline__ void step(bool more, const Meanwhile& meanwhile) {
    std::uint32_t half[2];
    std::uint64_t x = 0;
    std::uint32_t scale = 0;
    keep_product();
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      if (c % 2 == 0) {
        half[c / 2] = halves.at;
        ptx::barrier_wait(many_half_full<kGroup>(base, halves.at), halves.parity);
        x = ptx::whole_descriptor((base + halves.at + (0x10000U << 4)) >> 4);
        halves.advance();
      }
      multiply(c, x);
      if (c == 0) meanwhile();
      const bool ends_group = (c + 1) % kChunksOfGroup == 0;
      if (ends_group) scale = ptx::load_shared_4(scale_at + weights.at + c / kChunksOfGroup * 32);
      ptx::wgmma_wait<1>();  // the chunk before
      keep(c + 1);
      if (c + 1 < kChunks) {
        if (c == 2 && kChunksOfGroup > 2) release(half[0]);
        expand(c + 1);
      } else {
        const std::uint32_t empty = base + kMemory.weights_at() + weights.at + kMemory.weight_empty_at();
        weights.advance();
        if (more) {
          wait_for_weights();
          expand(0);
        }
        ptx::keep(scale);
        ptx::barrier_arrive_once(empty);
      }
      if (ends_group) {
        ptx::wgmma_wait<0>();
        keep_product();
        keep(c);
        if (c % 2 == 1) release(half[c / 2]);
        add_product(scale);
      }
    }
  }
};

}  // namespace awq::kernels::cuda
