#pragma once

#include <cstdint>
#include <cstring>

#include "base/float16.h"

namespace awq::quant::gguf {

/// Little-endian F16 fields of a block.
inline void store_f16(float value, std::uint8_t* to) {
  const std::uint16_t bits = to_f16(value).bits;
  to[0] = static_cast<std::uint8_t>(bits & 0xFFU);
  to[1] = static_cast<std::uint8_t>(bits >> 8);
}
inline float load_f16(const std::uint8_t* from) {
  return to_float(F16{static_cast<std::uint16_t>(from[0] | (from[1] << 8))});
}

}  // namespace awq::quant::gguf
