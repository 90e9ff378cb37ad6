#pragma once

#include <cstddef>
#include <cstdint>

namespace awq::kernels {

/// Tokens of one block of the KV pool. 16 is one AVX-512 register of scores, so a block needs no masks; larger blocks
/// waste more of the last one, smaller ones need longer tables.
inline constexpr std::int64_t kKvBlockTokens = 16;
/// Keys between two rescalings of a softmax. Steps begin at multiples of this from the start of a text, whatever was
/// asked before: the order of the sums of one query depends on its position alone.
inline constexpr std::int64_t kAttentionStep = 64;
/// Rows of queries that one call may have.
inline constexpr std::int64_t kMaxAttentionRows = 32;

enum class KvType : std::uint8_t { kF32, kBf16, kF16, kInt8, kE4M3 };

/// Codes of 8 bits, with a scale for each token and head.
constexpr bool has_scales(KvType type) { return type == KvType::kInt8 || type == KvType::kE4M3; }
/// Types whose neighbouring channels of a key and neighbouring keys of a channel's values lie side by side, which is
/// what products of bf16 pairs read; where sums of binary32 are wanted, a pair widens in one instruction for each.
constexpr bool in_pairs(KvType type) { return type == KvType::kBf16; }
constexpr std::int64_t kv_element_bytes(KvType type) { return type == KvType::kF32 ? 4 : has_scales(type) ? 1 : 2; }

/// The bits of a code of E4M3, sign extended and shifted up by 20, that are those of a binary32 number: the code times
/// 2^-120, the difference of the exponents' biases.
inline constexpr std::int32_t kE4M3Bits = static_cast<std::int32_t>(0x87F00000U);

/// What one head keeps in one block:
///
///   keys    [head_dim][16]     element c of 16 keys side by side: a score needs no sum across lanes
///   values  [16][padded_dim]   zeros behind head_dim
///   scales  [2][16] float      where has_scales(): of the keys, of the values
///
/// in_pairs():
///
///   keys    [head_dim / 2][16][2]
///   values  [8][padded_dim][2]
struct KvLayout {
  KvType type = KvType::kF32;
  std::int64_t head_dim = 0;  ///< even

  constexpr std::int64_t padded_dim() const { return (head_dim + 15) / 16 * 16; }
  /// Of channel c of the key in place `slot` of a block, in elements from the block's start.
  constexpr std::int64_t key_element(std::int64_t slot, std::int64_t c) const {
    return in_pairs(type) ? (c / 2 * kKvBlockTokens + slot) * 2 + c % 2 : c * kKvBlockTokens + slot;
  }
  /// The same of a value, from value_offset().
  constexpr std::int64_t value_element(std::int64_t slot, std::int64_t c) const {
    return in_pairs(type) ? (slot / 2 * padded_dim() + c) * 2 + slot % 2 : slot * padded_dim() + c;
  }
  constexpr std::int64_t value_offset() const {
    return (head_dim * kKvBlockTokens * kv_element_bytes(type) + 63) / 64 * 64;
  }
  constexpr std::int64_t scale_offset() const {
    return value_offset() + kKvBlockTokens * padded_dim() * kv_element_bytes(type);
  }
  /// From one head to the next, a multiple of 64.
  constexpr std::int64_t head_bytes() const {
    return scale_offset() + (has_scales(type) ? 2 * kKvBlockTokens * static_cast<std::int64_t>(sizeof(float)) : 0);
  }
};

/// 16-bit numbers in AttentionArgs::pairs: sums (of 32 bits), queries and weights of all rows, keys and values of a
/// step.
constexpr std::int64_t attention_pairs(const KvLayout& layout) {
  return kMaxAttentionRows * (2 * kKvBlockTokens + layout.head_dim + kAttentionStep) +
         kAttentionStep * (layout.head_dim + layout.padded_dim());
}

/// Softmax attention of some rows of queries, which read one KV head, over a part of their keys.
struct AttentionArgs {
  KvLayout layout;
  const std::byte* head = nullptr;       ///< this head's share of block 0 of the layer
  std::int64_t block_bytes = 0;          ///< from one block to the next
  const std::int32_t* blocks = nullptr;  ///< block table: token t lies in blocks[t / 16]
  std::int64_t rows = 0;                 ///< 1 .. kMaxAttentionRows
  const float* q = nullptr;              ///< [rows, head_dim], multiplied by the scale of the scores
  const std::int64_t* first = nullptr;   ///< [rows] first key that the row sees
  const std::int64_t* last = nullptr;    ///< [rows] the one behind the last; rising with the row
  std::int64_t key_begin = 0;            ///< the part; a multiple of kAttentionStep
  std::int64_t key_end = 0;              ///< tokens from here on are not in the blocks or not looked at
  float* largest = nullptr;              ///< [rows] out: the largest score, -infinity when the row sees nothing
  float* sum = nullptr;                  ///< [rows] out: of exp(score - largest)
  float* out = nullptr;                  ///< [rows, padded_dim] out: sum of exp(score - largest) * value, not divided
  float* scores = nullptr;               ///< [rows, kAttentionStep] scratch
  std::uint16_t* pairs = nullptr;        ///< [attention_pairs()] scratch of rows that round to bf16
};

/// A row of the table. Every one that does not round to bf16 performs this sequence of binary32 operations for each row
/// of q, so that all give the same bits; `fma` rounds once, lanes are keys modulo 16:
///
///   largest = -inf; sum = 0; out = 0
///   for each step of 64 keys of which the row sees some, from [a, b):
///     s[j] = 0;  for each channel c:  s[j] = fma(q[c], key[j][c], s[j])      (scales: then s[j] * key_scale[j])
///     m = max(largest, s[a..b));  f = exp(largest - m), 0 before the first step
///     p[j] = exp(s[j] - m) for a <= j < b, else 0
///     lane[l] = ((p[l] + p[l + 16]) + p[l + 32]) + p[l + 48], then lanes + 8 apart, + 4, + 2, + 1
///     sum = fma(sum, f, lane[0]);  out = out * f;  largest = m
///     for each j from a to b:  out[c] = fma(p[j], value[j][c], out[c])       (scales: p[j] * value_scale[j])
///
/// One that rounds does the same with q, keys and values rounded to bf16, p too (times its scale) where it meets
/// values, and without scales in `sum` as well, so that the weights of a row add up to one. It takes two channels of a
/// score at a time, and two keys of an output, from each block of the step in turn; which of the two comes first is up
/// to the processor. So its bits are those of a row on one processor: the same alone and among others.
struct AttentionKernel {
  const char* name;
  std::uint8_t min_isa;  ///< awq::Isa as a number
  bool rounds_to_bf16;   ///< needs a processor with bf16 products
  void (*run)(const AttentionArgs& args) noexcept;
};
/// In order of preference, ended by a null name; the last one runs everywhere.
const AttentionKernel* attention_kernels_cpu();

/// exp(x) for x <= 0 as every row computes it: 2^n * p(r), n the nearest integer to x / ln 2, p a polynomial of degree
/// 6 (Cephes' coefficients), relative error 2^-23; 0 below -87.
namespace exp_constants {
inline constexpr float kLowest = -87.0F;
inline constexpr float kLog2E = 1.44269504088896341F;
inline constexpr float kMagic = 12582912.0F;  ///< 1.5 * 2^23: adding it rounds to an integer
inline constexpr float kMinusLn2High = -0.693359375F;
inline constexpr float kMinusLn2Low = 2.12194440e-4F;
inline constexpr float kC5 = 1.9875691500e-4F;
inline constexpr float kC4 = 1.3981999507e-3F;
inline constexpr float kC3 = 8.3334519073e-3F;
inline constexpr float kC2 = 4.1665795894e-2F;
inline constexpr float kC1 = 1.6666665459e-1F;
inline constexpr float kC0 = 5.0000001201e-1F;
}  // namespace exp_constants
/// The scalar form.
float exp_nonpositive(float x) noexcept;

/// One token's keys and values of one head into slot `token` % 16 of a block. `values` and `keys` [head_dim]. F16
/// saturates; kInt8 takes the largest magnitude over 127 as scale, kE4M3 a power of two (kernels/kv_scale.h).
void store_kv(const KvLayout& layout, std::byte* head_of_block, std::int64_t token, const float* keys,
              const float* values) noexcept;

}  // namespace awq::kernels
