#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace awq {

/// Element types as safetensors names them. The order is that format's own rank: writers sort by it.
enum class DType : std::uint8_t {
  kBool,
  kF4,
  kF6E2M3,
  kF6E3M2,
  kU8,
  kI8,
  kF8E5M2,
  kF8E4M3,
  kF8E8M0,
  kF8E4M3Fnuz,
  kF8E5M2Fnuz,
  kI16,
  kU16,
  kF16,
  kBf16,
  kI32,
  kU32,
  kF32,
  kC64,
  kF64,
  kI64,
  kU64,
};

/// Tag as written in a safetensors header: "BF16".
std::string_view dtype_name(DType dtype);
std::optional<DType> parse_dtype(std::string_view name);
/// Bits of one element.
std::uint32_t dtype_bits(DType dtype);
/// True for the types that weights of a checkpoint may have here: F32, F16, BF16.
constexpr bool is_float_weight(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBf16;
}

}  // namespace awq
