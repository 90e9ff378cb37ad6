#pragma once

#include "kernels/cuda/w4_wide_ring.cuh"

/// What a warpgroup of consumers of the wide form does with a step of 128 inputs.
namespace awq::kernels::cuda {

template <int kTokens, Half kType, int kGroup, bool kSplit>
struct WideConsumer {
  static constexpr int kValues = kTokens / 2;  ///< sums of a thread
  static constexpr int kGroups = 128 / kGroup;
  /// Products of 16 inputs that are issued at once, within one group: the codes of the next ones are expanded while
  /// they run.
  static constexpr int kChunk = (kGroup < 64 ? kGroup : 64) / 16;
  static constexpr int kChunks = 8 / kChunk;
  static constexpr int kChunksOfGroup = kGroup / 16 / kChunk;
  /// Registers for the fragments of the next step beside the sums.
  static constexpr bool kAhead = kTokens <= 32;

  using Ring = WideRing<kTokens, kGroup, kSplit>;
  static constexpr WideMemory kMemory{kTokens, kGroup, kSplit};

  std::uint32_t base;                ///< of shared memory
  std::uint32_t codes_at, scale_at;  ///< this thread's in the first stage
  std::uint32_t zero_at;
  Ring ring;
  uint4 codes[2];               ///< of the step under way, then of the next
  std::uint32_t zero[kGroups];  ///< bytes of zero points likewise
  std::uint32_t a[8][4];
  float product[kValues];  ///< of the group under way
  float leaf_sum[kValues];

  __device__ __forceinline__ WideConsumer(std::uint32_t address, int warpgroup) : base(address) {
    const int thread = static_cast<int>(threadIdx.x) & 127;
    const int lane = thread & 31;
    const std::uint32_t slab = address + kMemory.x_bytes() + (warpgroup * 4 + (thread >> 5)) * kMemory.slab_bytes();
    codes_at = ptx::keep_value(slab + lane * 16);
    scale_at = ptx::keep_value(slab + 1024 + (lane >> 2) * 4);
    zero_at = ptx::keep_value(slab + 1024 + kGroups * 32 + (lane >> 2));
    clear();
  }
  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < kValues; ++i) leaf_sum[i] = 0.0F;
  }

  /// Descriptor of a stage's activations, as of wgmma_descriptor(): an address of shared memory outside a cluster needs
  /// no mask, and the bit above it comes along.
  __device__ __forceinline__ std::uint64_t activations(std::uint32_t at) const {
    return ptx::whole_descriptor((base + at + (0x10000U << 4)) >> 4);
  }
  /// Waits for a stage and loads this thread's codes.
  __device__ __forceinline__ void fetch(const Ring& from) {
    ptx::barrier_wait(base + from.at + kMemory.full_at(), from.parity);
    codes[0] = ptx::load_shared_16(codes_at + from.at);
    codes[1] = ptx::load_shared_16(codes_at + from.at + 512);
#pragma unroll
    for (int q = 0; q < kGroups; ++q) zero[q] = ptx::load_shared_1(zero_at + from.at + q * 8);
  }
  __device__ __forceinline__ void expand(int chunk) {
    const ZeroConstants constants = zero_constants<kType>(zero[chunk / kChunksOfGroup]);
#pragma unroll
    for (int j = chunk * kChunk; j < (chunk + 1) * kChunk; ++j) {
      expand_codes<kType>(word_of(codes[j >> 2], j & 3), constants, a[j]);
    }
    keep(chunk);
  }
  __device__ __forceinline__ void keep(int chunk) {
#pragma unroll
    for (int j = chunk * kChunk; j < (chunk + 1) * kChunk; ++j) {
#pragma unroll
      for (int r = 0; r < 4; ++r) ptx::keep(a[j][r]);
    }
  }
  __device__ __forceinline__ void keep_product() {
#pragma unroll
    for (int i = 0; i < kValues; ++i) ptx::keep(product[i]);
  }
  __device__ __forceinline__ void multiply(int chunk, std::uint64_t x) {
    ptx::wgmma_fence();
#pragma unroll
    for (int j = chunk * kChunk; j < (chunk + 1) * kChunk; ++j) {
      ptx::Wgmma<kTokens, kType>::run(product, a[j], x + (j >> 2) * (kTokens * 128 / 16) + (j & 3) * 2,
                                      j % (kGroup / 16) != 0);
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

  /// Before the first step of a part.
  __device__ __forceinline__ void begin() {
    fetch(ring);
    if constexpr (kAhead) expand(0);
  }
  /// Products of one stage. `more`: another follows, whose codes (and with kAhead first fragments) are made ready
  /// while they run.
  __device__ __forceinline__ void step(bool more) {
    const Ring here = ring;
    const std::uint64_t x = activations(here.at);
    ring.advance();
    if constexpr (!kAhead) expand(0);
    keep_product();
#pragma unroll
    for (int c = 0; c < kChunks; ++c) {
      multiply(c, x);
      // The scales of the group, when its products are on their way.
      const std::uint32_t scale = ptx::load_shared_4(scale_at + here.at + c / kChunksOfGroup * 32);
      if (c + 1 < kChunks) {
        expand(c + 1);
      } else {
        if constexpr (kChunksOfGroup == 2) {
          ptx::wgmma_wait<1>();  // of the group's first half
          keep(0);
        }
        if (more) {
          fetch(ring);
          if constexpr (kAhead) expand(0);
        }
      }
      if ((c + 1) % kChunksOfGroup == 0) {
        ptx::wgmma_wait<0>();
        keep_product();
        keep(c);
        if (c + 1 == kChunks) ptx::barrier_arrive_once(base + here.at + kMemory.empty_at());
        add_product(scale);
      }
    }
  }
};

}  // namespace awq::kernels::cuda
