#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace awq::quant {

/// Element types of a GGUF tensor that this program makes. Layouts and procedures: docs/formats/gguf-blocks.md.
enum class GgufType : std::uint8_t { kF32, kF16, kBf16, kQ4_0, kQ4_1, kQ5_0, kQ5_1, kQ8_0, kQ4K, kQ5K, kQ6K };

/// One row of the table of types. Both functions handle one block and neither allocates.
struct GgufBlock {
  const char* name;        ///< as llama.cpp prints it: "Q4_K"
  std::uint32_t id;        ///< ggml's number of the type, as it stands in a file
  std::uint32_t elements;  ///< weights of one block, along the input features
  std::uint32_t bytes;
  void (*quantize)(const float* x, std::uint8_t* out);
  void (*dequantize)(const std::uint8_t* in, float* x);
};

const GgufBlock& gguf_block(GgufType type);

/// Bytes of a row of `elements` weights, which must be whole blocks.
std::uint64_t gguf_row_bytes(GgufType type, std::uint64_t elements);

/// Rounds a row of finite weights with llama.cpp's reference procedure (no importance data); the bytes are its bytes.
/// x holds whole blocks; out gguf_row_bytes().
void gguf_quantize_row(GgufType type, std::span<const float> x, std::span<std::uint8_t> out);
void gguf_dequantize_row(GgufType type, std::span<const std::uint8_t> in, std::span<float> x);

/// What a row would be after a trip through the type, in place. x holds whole blocks.
void gguf_round_trip(GgufType type, std::span<float> x);

namespace gguf {

// The rows' functions. Simple types (gguf_blocks_basic.cpp): one or two F16 numbers for 32 weights.
void quantize_q4_0(const float* x, std::uint8_t* out);
void dequantize_q4_0(const std::uint8_t* in, float* x);
void quantize_q4_1(const float* x, std::uint8_t* out);
void dequantize_q4_1(const std::uint8_t* in, float* x);
void quantize_q5_0(const float* x, std::uint8_t* out);
void dequantize_q5_0(const std::uint8_t* in, float* x);
void quantize_q5_1(const float* x, std::uint8_t* out);
void dequantize_q5_1(const std::uint8_t* in, float* x);
void quantize_q8_0(const float* x, std::uint8_t* out);
void dequantize_q8_0(const std::uint8_t* in, float* x);
// Types of 256 weights with small integer scales (gguf_blocks_k.cpp).
void quantize_q4_k(const float* x, std::uint8_t* out);
void dequantize_q4_k(const std::uint8_t* in, float* x);
void quantize_q5_k(const float* x, std::uint8_t* out);
void dequantize_q5_k(const std::uint8_t* in, float* x);
void quantize_q6_k(const float* x, std::uint8_t* out);
void dequantize_q6_k(const std::uint8_t* in, float* x);

}  // namespace gguf
}  // namespace awq::quant
