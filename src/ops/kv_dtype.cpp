#include "ops/kv_dtype.h"

#include "base/check.h"

namespace awq::ops {
namespace {
constexpr const char* kNames[] = {"f32", "bf16", "f16", "int8"};
}  // namespace

KvDtype parse_kv_dtype(std::string_view name) {
  for (std::uint8_t i = 0; i < std::size(kNames); ++i) {
    if (name == kNames[i]) return static_cast<KvDtype>(i);
  }
  fail(ErrorCode::kInvalidArgument, "--kv-dtype {}: expected f32, bf16, f16 or int8", printable(name));
}

const char* kv_dtype_name(KvDtype dtype) { return kNames[static_cast<std::size_t>(dtype)]; }

}  // namespace awq::ops
