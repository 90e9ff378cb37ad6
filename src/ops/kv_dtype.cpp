#include "ops/kv_dtype.h"

#include "base/check.h"
#include "ops/activation_precision.h"

namespace awq::ops {
namespace {

constexpr const char* kNames[] = {"f32", "bf16", "f16", "int8", "fp8"};

struct OtherName {
  std::string_view name;
  KvDtype dtype;
};
constexpr OtherName kOtherNames[] = {
    {"float32", KvDtype::kF32},
    {"float", KvDtype::kF32},
    {"bfloat16", KvDtype::kBf16},
    {"float16", KvDtype::kF16},
    {"half", KvDtype::kF16},
    {"int8_per_token_head", KvDtype::kInt8},
    {"fp8_per_token_head", KvDtype::kFp8},
    {"fp8_e4m3", KvDtype::kFp8},
};

}  // namespace

std::optional<KvDtype> parse_kv_dtype(std::string_view name) {
  if (name == "auto") return std::nullopt;
  for (std::size_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<KvDtype>(i);
  }
  for (const OtherName& other : kOtherNames) {
    if (name == other.name) return other.dtype;
  }
  fail(ErrorCode::kInvalidArgument, "--kv-cache-dtype {}: expected auto, f32, bf16, f16, int8 or fp8{}",
       printable(name),
       name == "fp8_e5m2" ? " (which is E4M3: with a scale for every token and head it needs no wider exponent)" : "");
}

const char* kv_dtype_name(KvDtype dtype) { return kNames[static_cast<std::size_t>(dtype)]; }

KvDtype kv_dtype_of_processor(std::string_view name) {
  return parse_kv_dtype(name).value_or(rounds_to_bf16() ? KvDtype::kBf16 : KvDtype::kF16);
}

}  // namespace awq::ops
