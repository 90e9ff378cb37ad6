#pragma once

#include "kernels/cuda/kv_layout.cuh"
#include "kernels/cuda/token_device.cuh"
#include "kernels/kv_scale.h"

/// Rotation of one head of one token, and storing it: for the kernel that does nothing else and for decode.
namespace awq::kernels::cuda {

struct RopeArguments {
  std::uint16_t* qkv;
  std::int32_t num_heads;
  std::int32_t num_kv_heads;
  std::int32_t head_dim;
  const std::int32_t* query_begin;
  const std::int32_t* past;
  const std::int32_t* blocks;
  std::int32_t block_stride;
  const std::int32_t* token_sequence;
  const float* cosines;
  const float* sines;
  const float* q_norm;
  const float* k_norm;
  float eps;
  unsigned char* cache;

  RopeArguments(void* tokens, std::int32_t heads, const SequenceBatch& batch, const Rotation& rotation,
                const KvBlocks& kv)
      : qkv(static_cast<std::uint16_t*>(tokens)),
        num_heads(heads),
        num_kv_heads(kv.num_kv_heads),
        head_dim(kv.head_dim),
        query_begin(batch.query_begin),
        past(batch.past),
        blocks(batch.blocks),
        block_stride(batch.block_stride),
        token_sequence(batch.token_sequence),
        cosines(rotation.cosines),
        sines(rotation.sines),
        q_norm(rotation.q_norm),
        k_norm(rotation.k_norm),
        eps(rotation.eps),
        cache(static_cast<unsigned char*>(kv.data)) {}
};

/// kWidth neighbouring halves.
template <Half kType, int kWidth>
__device__ __forceinline__ void load_halves(const std::uint16_t* from, float* to) {
  if constexpr (kWidth == 2) {
    const float2 pair = unpack_halves<kType>(*reinterpret_cast<const std::uint32_t*>(from));
    to[0] = pair.x;
    to[1] = pair.y;
  } else {
    to[0] = widen_half<kType>(*from);
  }
}

template <Half kType, int kWidth>
__device__ __forceinline__ void store_halves(std::uint16_t* to, const float* from) {
  if constexpr (kWidth == 2) {
    *reinterpret_cast<std::uint32_t*>(to) = ptx::pack_halves<kType>(from[0], from[1]);
  } else {
    *to = ptx::to_half<kType>(from[0]);
  }
}

/// The numbers of a head that a lane holds: `low` from the first half of the head and their partners.
template <int kWidth, int kTurns>
struct LaneNumbers {
  float low[kTurns][kWidth] = {};
  float high[kTurns][kWidth] = {};
};

__device__ __forceinline__ std::uint32_t larger(std::uint32_t a, std::uint32_t b) { return a > b ? a : b; }

/// The scale of a row whose largest magnitude is `most`, as a half: NaN when that is not finite. Numbers beyond what a
/// half holds saturate.
template <Half kType, CacheType kCache>
__device__ __forceinline__ std::uint16_t row_scale(float most) {
  if constexpr (kCache == CacheType::kE4M3) return ptx::to_half<kType>(e4m3_row_scale(most));
  if (!(most < INFINITY)) return ptx::to_half<kType>(most - most);
  constexpr float kMostScale = 515.5F;  // times 127 it is the largest that F16 does not round to infinity
  if (kType == Half::kF16 && most > 127 * kMostScale) return ptx::to_half<kType>(kMostScale);
  const std::uint16_t scale = ptx::to_half<kType>(most / 127);
  return widen_half<kType>(scale) * 127 < most ? scale + 1 : scale;
}
template <CacheType kCache>
__device__ __forceinline__ std::uint32_t row_code(float value, float scale) {
  if constexpr (kCache == CacheType::kE4M3) return e4m3_code(value, scale).bits;
  const float steps = scale > 0 ? rintf(value / scale) : 0;
  return static_cast<std::uint8_t>(static_cast<std::int8_t>(fminf(fmaxf(steps, -127.0F), 127.0F)));
}

/// The codes of a token's keys or values and their scale; `side` are those of its block and head.
template <Half kType, CacheType kCache, int kWidth, int kTurns>
__device__ __forceinline__ void store_codes(unsigned char* side, unsigned char* scale_at, int head_dim, int slot,
                                            const LaneNumbers<kWidth, kTurns>& numbers) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int half = head_dim / 2;
  // The largest magnitude by its bits, which puts infinities and then NaN above all numbers. Lanes without elements
  // hold zeros.
  std::uint32_t most = 0;
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      most = larger(most, __float_as_uint(numbers.low[turn][e]) & 0x7fffffffU);
      most = larger(most, __float_as_uint(numbers.high[turn][e]) & 0x7fffffffU);
    }
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    most = larger(most, __shfl_xor_sync(0xffffffffU, most, distance));
  }
  const std::uint16_t stored_scale = row_scale<kType, kCache>(__uint_as_float(most));
  if (lane == 0) *reinterpret_cast<std::uint16_t*>(scale_at) = stored_scale;
  const float scale = widen_half<kType>(stored_scale);
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int j = (turn * 32 + lane) * kWidth;
    std::uint32_t low[kWidth];
    std::uint32_t high[kWidth];
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      low[e] = row_code<kCache>(numbers.low[turn][e], scale);
      high[e] = row_code<kCache>(numbers.high[turn][e], scale);
    }
    if constexpr (kWidth == 2) {
      if (head_dim % 64 == 0) {
        // Elements eight apart are neighbours in the cache: lanes four apart exchange theirs, and each has a word.
        const bool upper = (lane & 4) != 0;
        const std::uint32_t own_low = low[0] | low[1] << 16;
        const std::uint32_t own_high = high[0] | high[1] << 16;
        const std::uint32_t other = __shfl_xor_sync(0xffffffffU, upper ? own_low : own_high, 4);
        if (j >= half) continue;
        const std::uint32_t word = upper ? other | own_high << 8 : own_low | other << 8;
        const int first = (upper ? half - 8 : 0) + j;
        *reinterpret_cast<std::uint32_t*>(side + kv_code(head_dim, slot, first)) = word;
        continue;
      }
    }
    if (j >= half) continue;
#pragma unroll
    for (int e = 0; e < kWidth; ++e) {
      side[kv_code(head_dim, slot, j + e)] = static_cast<std::uint8_t>(low[e]);
      side[kv_code(head_dim, slot, half + j + e)] = static_cast<std::uint8_t>(high[e]);
    }
  }
}

/// One warp's head of a token: queries, rotated, go to `query_to` (head_dim halves), keys and values to the cache. A
/// lane holds kWidth neighbouring elements of the first half of the head and their partners, 32 * kWidth further again,
/// kTurns times.
template <Half kType, int kWidth, int kTurns, CacheType kCache>
__device__ __forceinline__ void rotate_head(const RopeArguments& a, std::int64_t token, std::int32_t sequence, int head,
                                            std::uint16_t* query_to) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int half = a.head_dim / 2;
  const std::int32_t position = a.past[sequence] + (static_cast<std::int32_t>(token) - a.query_begin[sequence]);
  const int total = a.num_heads + 2 * a.num_kv_heads;
  const std::uint16_t* row = a.qkv + (token * total + head) * a.head_dim;

  LaneNumbers<kWidth, kTurns> numbers;
  auto& low = numbers.low;
  auto& high = numbers.high;
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int j = (turn * 32 + lane) * kWidth;
    if (j >= half) continue;
    load_halves<kType, kWidth>(row + j, low[turn]);
    load_halves<kType, kWidth>(row + half + j, high[turn]);
  }
  const bool is_query = head < a.num_heads;
  const bool is_value = head >= a.num_heads + a.num_kv_heads;
  const float* norm = is_query ? a.q_norm : a.k_norm;
  if (!is_value && norm != nullptr) {
    float sum = 0;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        sum = __fmaf_rn(low[turn][e], low[turn][e], sum);
        sum = __fmaf_rn(high[turn][e], high[turn][e], sum);
      }
    }
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, distance);
    const float factor = rsqrtf(sum / static_cast<float>(a.head_dim) + a.eps);
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int j = (turn * 32 + lane) * kWidth;
      if (j >= half) continue;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        low[turn][e] *= factor * norm[j + e];
        high[turn][e] *= factor * norm[half + j + e];
      }
    }
  }
  if (!is_value) {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int j = (turn * 32 + lane) * kWidth;
      if (j >= half) continue;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        const float cosine = a.cosines[static_cast<std::int64_t>(position) * half + j + e];
        const float sine = a.sines[static_cast<std::int64_t>(position) * half + j + e];
        const float x = low[turn][e];
        const float y = high[turn][e];
        low[turn][e] = x * cosine - y * sine;
        high[turn][e] = y * cosine + x * sine;
      }
    }
  }
  // Elements that lie side by side in a head do so in the cache: chunks of eight move as a whole.
  const int kv_head = is_value ? head - a.num_heads - a.num_kv_heads : head - a.num_heads;
  const int slot = position % kBlockTokens;
  std::uint16_t* side = nullptr;
  if (!is_query) {
    const std::int32_t block = a.blocks[static_cast<std::int64_t>(sequence) * a.block_stride + position / kBlockTokens];
    unsigned char* page = a.cache + kv_page(kCache, block, a.num_kv_heads, kv_head, a.head_dim);
    unsigned char* own = page + (is_value ? kv_side_bytes(kCache, a.head_dim) : 0);
    if constexpr (kCache != CacheType::kHalf) {
      store_codes<kType, kCache>(own, page + kv_scale_offset(a.head_dim, is_value, slot), a.head_dim, slot, numbers);
      return;
    }
    side = reinterpret_cast<std::uint16_t*>(own);
  }
#pragma unroll
  for (int turn = 0; turn < kTurns; ++turn) {
    const int j = (turn * 32 + lane) * kWidth;
    if (j >= half) continue;
    store_halves<kType, kWidth>(is_query ? query_to + j : side + kv_element(a.head_dim, slot, j), low[turn]);
    store_halves<kType, kWidth>(is_query ? query_to + half + j : side + kv_element(a.head_dim, slot, half + j),
                                high[turn]);
  }
}

}  // namespace awq::kernels::cuda
