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

/// What the processor keeps where nothing is named: F16 costs a millionth of a nat (docs/numerics.md) and half the
/// memory of binary32.
inline constexpr KvDtype kDefaultKvDtype = KvDtype::kF16;

}  // namespace awq::ops
