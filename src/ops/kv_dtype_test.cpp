#include "ops/kv_dtype.h"

#include <gtest/gtest.h>

#include "awq/error.h"
#include "base/cpu_features.h"
#include "ops/activation_precision.h"

namespace awq::ops {
namespace {

TEST(KvDtype, HasTheNamesOfServers) {
  EXPECT_EQ(parse_kv_dtype("auto"), std::nullopt);
  for (const KvDtype dtype : {KvDtype::kF32, KvDtype::kBf16, KvDtype::kF16, KvDtype::kInt8, KvDtype::kFp8}) {
    EXPECT_EQ(parse_kv_dtype(kv_dtype_name(dtype)), dtype);
  }
  EXPECT_EQ(parse_kv_dtype("fp8_e4m3"), KvDtype::kFp8);
  EXPECT_EQ(parse_kv_dtype("bfloat16"), KvDtype::kBf16);
  EXPECT_EQ(parse_kv_dtype("int8_per_token_head"), KvDtype::kInt8);
  for (const char* name : {"", "f64", "FP8", "fp8_e5m2", "nvfp4"}) {
    try {
      parse_kv_dtype(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(error.message().find("int8 or fp8"), std::string::npos) << error.message();
    }
  }
}

TEST(KvDtype, AutoIsWhatAttentionRoundsTo) {
  const ActivationPrecision before = activation_precision();
  for (const ActivationPrecision precision : {ActivationPrecision::kF32, ActivationPrecision::kInt15}) {
    set_activation_precision(precision);
    EXPECT_EQ(kv_dtype_of_processor("auto"), KvDtype::kF16);
  }
  set_activation_precision(ActivationPrecision::kInt8);
  EXPECT_EQ(kv_dtype_of_processor("auto"), has_native_bf16() ? KvDtype::kBf16 : KvDtype::kF16);
  EXPECT_EQ(kv_dtype_of_processor("f16"), KvDtype::kF16);
  EXPECT_EQ(kv_dtype_of_processor("int8"), KvDtype::kInt8);
  set_activation_precision(before);
}

}  // namespace
}  // namespace awq::ops
