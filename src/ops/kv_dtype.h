#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace awq::ops {

/// How keys and values are kept. kInt8 and kFp8 (E4M3) have one scale per token and head.
enum class KvDtype : std::uint8_t { kF32, kBf16, kF16, kInt8, kFp8 };

/// What --kv-cache-dtype names: "f32", "bf16", "f16", "int8" or "fp8", or by another name that servers have for one of
/// them; nullopt for "auto". Throws kInvalidArgument for another name.
std::optional<KvDtype> parse_kv_dtype(std::string_view name);
const char* kv_dtype_name(KvDtype dtype);

/// What the processor keeps: what --kv-cache-dtype names, and for "auto" BF16 where attention rounds keys and values to
/// that anyway (rounds_to_bf16(): set the activation precision first), else F16, which costs a millionth of a nat
/// (docs/numerics.md) and half the memory of binary32. Throws as parse_kv_dtype() does.
KvDtype kv_dtype_of_processor(std::string_view name);

}  // namespace awq::ops
