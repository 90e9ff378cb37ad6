#include "tensor/dtype.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "base/float16.h"
#include "tensor/convert.h"

namespace awq {
namespace {

constexpr int kCount = static_cast<int>(DType::kU64) + 1;

TEST(DType, NamesComeBackAndDiffer) {
  std::set<std::string_view> names;
  for (int i = 0; i < kCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    EXPECT_EQ(parse_dtype(dtype_name(dtype)), dtype);
    names.insert(dtype_name(dtype));
    EXPECT_GT(dtype_bits(dtype), 0U);
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kCount));
  for (const char* name : {"", "F", "f32", "F32 ", "BF17", "FLOAT"}) EXPECT_EQ(parse_dtype(name), std::nullopt) << name;
}

TEST(DType, Bits) {
  EXPECT_EQ(dtype_bits(DType::kF4), 4U);
  EXPECT_EQ(dtype_bits(DType::kF6E2M3), 6U);
  EXPECT_EQ(dtype_bits(DType::kBool), 8U);
  EXPECT_EQ(dtype_bits(DType::kBf16), 16U);
  EXPECT_EQ(dtype_bits(DType::kF32), 32U);
  EXPECT_EQ(dtype_bits(DType::kC64), 64U);
  EXPECT_EQ(dtype_bits(DType::kI64), 64U);
  // The order is that of the safetensors format, by which writers sort: never from wide to narrow.
  for (int i = static_cast<int>(DType::kF4) + 1; i < kCount; ++i) {
    EXPECT_GE(dtype_bits(static_cast<DType>(i)), dtype_bits(static_cast<DType>(i - 1))) << i;
  }
}

TEST(Convert, WidensAndNarrowsElementByElement) {
  // 67 elements: not a multiple of any vector width.
  std::vector<float> values;
  for (int i = 0; i < 67; ++i) values.push_back((static_cast<float>(i) - 33.0F) * 0.37F);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBf16}) {
    std::vector<std::byte> bytes(values.size() * dtype_bits(dtype) / 8);
    narrow_from_float(dtype, values, bytes);
    std::vector<float> back(values.size());
    widen_to_float(dtype, bytes, back);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float expected = dtype == DType::kF32   ? values[i]
                             : dtype == DType::kF16 ? to_float(to_f16(values[i]))
                                                    : to_float(to_bf16(values[i]));
      EXPECT_EQ(back[i], expected) << dtype_name(dtype) << " " << i;
    }
  }
}

}  // namespace
}  // namespace awq
