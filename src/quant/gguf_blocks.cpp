#include "quant/gguf_blocks.h"

#include <cstring>

#include "base/check.h"
#include "quant/gguf_block_bytes.h"

namespace awq::quant {
namespace {

void quantize_f32(const float* x, std::uint8_t* out) { std::memcpy(out, x, sizeof(float)); }
void dequantize_f32(const std::uint8_t* in, float* x) { std::memcpy(x, in, sizeof(float)); }
void quantize_f16(const float* x, std::uint8_t* out) { gguf::store_f16(*x, out); }
void dequantize_f16(const std::uint8_t* in, float* x) { *x = gguf::load_f16(in); }
void quantize_bf16(const float* x, std::uint8_t* out) {
  const std::uint16_t bits = to_bf16(*x).bits;
  out[0] = static_cast<std::uint8_t>(bits & 0xFFU);
  out[1] = static_cast<std::uint8_t>(bits >> 8);
}
void dequantize_bf16(const std::uint8_t* in, float* x) {
  *x = to_float(Bf16{static_cast<std::uint16_t>(in[0] | (in[1] << 8))});
}

// In the order of GgufType.
constexpr GgufBlock kBlocks[] = {
    {"F32", 0, 1, 4, quantize_f32, dequantize_f32},
    {"F16", 1, 1, 2, quantize_f16, dequantize_f16},
    {"BF16", 30, 1, 2, quantize_bf16, dequantize_bf16},
    {"Q4_0", 2, 32, 18, gguf::quantize_q4_0, gguf::dequantize_q4_0},
    {"Q4_1", 3, 32, 20, gguf::quantize_q4_1, gguf::dequantize_q4_1},
    {"Q5_0", 6, 32, 22, gguf::quantize_q5_0, gguf::dequantize_q5_0},
    {"Q5_1", 7, 32, 24, gguf::quantize_q5_1, gguf::dequantize_q5_1},
    {"Q8_0", 8, 32, 34, gguf::quantize_q8_0, gguf::dequantize_q8_0},
    {"Q4_K", 12, 256, 144, gguf::quantize_q4_k, gguf::dequantize_q4_k},
    {"Q5_K", 13, 256, 176, gguf::quantize_q5_k, gguf::dequantize_q5_k},
    {"Q6_K", 14, 256, 210, gguf::quantize_q6_k, gguf::dequantize_q6_k},
};
static_assert(std::size(kBlocks) == static_cast<std::size_t>(GgufType::kQ6K) + 1);

}  // namespace

const GgufBlock& gguf_block(GgufType type) { return kBlocks[static_cast<std::size_t>(type)]; }

std::uint64_t gguf_row_bytes(GgufType type, std::uint64_t elements) {
  const GgufBlock& block = gguf_block(type);
  AWQ_CHECK(elements % block.elements == 0);
  return elements / block.elements * block.bytes;
}

void gguf_quantize_row(GgufType type, std::span<const float> x, std::span<std::uint8_t> out) {
  const GgufBlock& block = gguf_block(type);
  AWQ_CHECK(out.size() == gguf_row_bytes(type, x.size()));
  for (std::size_t b = 0; b < x.size() / block.elements; ++b) {
    block.quantize(x.data() + b * block.elements, out.data() + b * block.bytes);
  }
}

void gguf_dequantize_row(GgufType type, std::span<const std::uint8_t> in, std::span<float> x) {
  const GgufBlock& block = gguf_block(type);
  AWQ_CHECK(in.size() == gguf_row_bytes(type, x.size()));
  for (std::size_t b = 0; b < x.size() / block.elements; ++b) {
    block.dequantize(in.data() + b * block.bytes, x.data() + b * block.elements);
  }
}

void gguf_round_trip(GgufType type, std::span<float> x) {
  const GgufBlock& block = gguf_block(type);
  AWQ_CHECK(x.size() % block.elements == 0);
  std::uint8_t bytes[256];  // the largest block has 210
  for (std::size_t begin = 0; begin < x.size(); begin += block.elements) {
    block.quantize(x.data() + begin, bytes);
    block.dequantize(bytes, x.data() + begin);
  }
}

}  // namespace awq::quant
