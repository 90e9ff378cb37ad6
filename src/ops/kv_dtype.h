#pragma once

#include <cstdint>
#include <string_view>

namespace awq::ops {

/// How keys and values are kept. kInt8 has one scale per token and head.
enum class KvDtype : std::uint8_t { kF32, kBf16, kF16, kInt8 };

/// "f32", "bf16", "f16", "int8". Throws kInvalidArgument for another name.
KvDtype parse_kv_dtype(std::string_view name);
const char* kv_dtype_name(KvDtype dtype);

}  // namespace awq::ops
