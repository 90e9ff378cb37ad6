// GGUF types of 32 weights with one scale and perhaps one minimum. What a block holds, and how llama.cpp chooses it, is
// in docs/formats/gguf-blocks.md. Products and sums stay apart (no fused multiply-add; see CMakeLists.txt): the codes
// are compared with llama.cpp's byte for byte.

#include <algorithm>
#include <cmath>

#include "quant/gguf_block_bytes.h"
#include "quant/gguf_blocks.h"

namespace awq::quant::gguf {
namespace {

constexpr int kWeights = 32;
constexpr int kHalf = kWeights / 2;

/// 1 / d, or 0 where d is 0 or so small that its reciprocal is no number.
float reciprocal(float d) {
  const float inverse = d != 0 ? 1.0F / d : 0.0F;
  return std::isfinite(inverse) ? inverse : 0.0F;
}

/// The weight of largest magnitude with its sign; of equal ones the first.
float signed_extreme(const float* x) {
  float extreme = 0;
  for (int i = 0; i < kWeights; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

/// Four-bit codes: weight j in the low half of byte j, weight j + 16 in the high half.
void store_nibbles(const std::uint8_t* codes, std::uint8_t* out) {
  for (int j = 0; j < kHalf; ++j)
    out[j] = static_cast<std::uint8_t>((codes[j] & 15U) | ((codes[j + kHalf] & 15U) << 4));
}

/// The fifth bits of all codes, as one little-endian word.
void store_fifth_bits(const std::uint8_t* codes, std::uint8_t* out) {
  std::uint32_t word = 0;
  for (int i = 0; i < kWeights; ++i) word |= static_cast<std::uint32_t>((codes[i] >> 4) & 1U) << i;
  for (int b = 0; b < 4; ++b) out[b] = static_cast<std::uint8_t>(word >> (8 * b));
}

int nibble(const std::uint8_t* bytes, int i) { return i < kHalf ? bytes[i] & 15 : bytes[i - kHalf] >> 4; }
int fifth_bit(const std::uint8_t* bytes, int i) { return (bytes[i / 8] >> (i % 8)) & 1; }

/// Symmetric codes: the extreme weight gets the lowest code, which has no positive counterpart.
float symmetric_codes(const float* x, int levels, std::uint8_t* codes) {
  const float half = static_cast<float>(levels) / 2;
  const float d = signed_extreme(x) / -half;
  const float inverse = reciprocal(d);
  for (int i = 0; i < kWeights; ++i) {
    codes[i] = static_cast<std::uint8_t>(std::min(levels - 1, static_cast<int>(x[i] * inverse + (half + 0.5F))));
  }
  return d;
}

struct Affine {
  float d, low;
};

Affine affine_codes(const float* x, int levels, std::uint8_t* codes) {
  const auto [low, high] = std::minmax_element(x, x + kWeights);
  const Affine range{(*high - *low) / static_cast<float>(levels - 1), *low};
  const float inverse = reciprocal(range.d);
  for (int i = 0; i < kWeights; ++i) {
    codes[i] = static_cast<std::uint8_t>(std::min(levels - 1, static_cast<int>((x[i] - range.low) * inverse + 0.5F)));
  }
  return range;
}

}  // namespace

void quantize_q4_0(const float* x, std::uint8_t* out) {
  std::uint8_t codes[kWeights];
  store_f16(symmetric_codes(x, 16, codes), out);
  store_nibbles(codes, out + 2);
}

void dequantize_q4_0(const std::uint8_t* in, float* x) {
  const float d = load_f16(in);
  for (int i = 0; i < kWeights; ++i) x[i] = d * static_cast<float>(nibble(in + 2, i) - 8);
}

void quantize_q4_1(const float* x, std::uint8_t* out) {
  std::uint8_t codes[kWeights];
  const Affine range = affine_codes(x, 16, codes);
  store_f16(range.d, out);
  store_f16(range.low, out + 2);
  store_nibbles(codes, out + 4);
}

void dequantize_q4_1(const std::uint8_t* in, float* x) {
  const float d = load_f16(in);
  const float low = load_f16(in + 2);
  for (int i = 0; i < kWeights; ++i) x[i] = static_cast<float>(nibble(in + 4, i)) * d + low;
}

void quantize_q5_0(const float* x, std::uint8_t* out) {
  std::uint8_t codes[kWeights];
  store_f16(symmetric_codes(x, 32, codes), out);
  store_fifth_bits(codes, out + 2);
  store_nibbles(codes, out + 6);
}

void dequantize_q5_0(const std::uint8_t* in, float* x) {
  const float d = load_f16(in);
  for (int i = 0; i < kWeights; ++i) {
    x[i] = d * static_cast<float>((nibble(in + 6, i) | (fifth_bit(in + 2, i) << 4)) - 16);
  }
}

void quantize_q5_1(const float* x, std::uint8_t* out) {
  std::uint8_t codes[kWeights];
  const Affine range = affine_codes(x, 32, codes);
  store_f16(range.d, out);
  store_f16(range.low, out + 2);
  store_fifth_bits(codes, out + 4);
  store_nibbles(codes, out + 8);
}

void dequantize_q5_1(const std::uint8_t* in, float* x) {
  const float d = load_f16(in);
  const float low = load_f16(in + 2);
  for (int i = 0; i < kWeights; ++i) {
    x[i] = static_cast<float>(nibble(in + 8, i) | (fifth_bit(in + 4, i) << 4)) * d + low;
  }
}

void quantize_q8_0(const float* x, std::uint8_t* out) {
  const float d = std::fabs(signed_extreme(x)) / 127.0F;
  const float inverse = reciprocal(d);
  store_f16(d, out);
  for (int i = 0; i < kWeights; ++i) {
    out[2 + i] = static_cast<std::uint8_t>(static_cast<std::int8_t>(std::round(x[i] * inverse)));  // away from zero
  }
}

void dequantize_q8_0(const std::uint8_t* in, float* x) {
  const float d = load_f16(in);
  for (int i = 0; i < kWeights; ++i) x[i] = static_cast<float>(static_cast<std::int8_t>(in[2 + i])) * d;
}

}  // namespace awq::quant::gguf
