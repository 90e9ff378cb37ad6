#include "quant/quantized_tensor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace awq::quant {
namespace {

/// Two outputs, four inputs, two groups.
QuantizedTensor small_tensor() {
  QuantizedTensor tensor;
  tensor.out_features = 2;
  tensor.in_features = 4;
  tensor.scheme.group_size = 2;
  tensor.codes = AlignedBuffer<std::uint8_t>(8);
  tensor.scales = AlignedBuffer<float>(4);
  tensor.zero_points = AlignedBuffer<std::uint8_t>(4);
  const std::uint8_t codes[8] = {0, 15, 7, 8, 1, 2, 3, 4};
  const float scales[4] = {0.5F, 0.1F, 2.0F, 0.25F};
  const std::uint8_t zero_points[4] = {8, 7, 0, 16};
  std::copy_n(codes, 8, tensor.codes.data());
  std::copy_n(scales, 4, tensor.scales.data());
  std::copy_n(zero_points, 4, tensor.zero_points.data());
  return tensor;
}

TEST(Dequantize, ScaleTimesDifference) {
  const QuantizedTensor tensor = small_tensor();
  std::vector<float> out(8);
  dequantize(tensor, out.data());
  EXPECT_EQ(out, (std::vector<float>{-4.0F, 3.5F, 0.0F, 0.1F, 2.0F, 4.0F, -3.25F, -3.0F}));
}

TEST(Dequantize, RowsAlone) {
  const QuantizedTensor tensor = small_tensor();
  std::vector<float> out(4);
  dequantize_rows(tensor, 1, 2, out.data());
  EXPECT_EQ(out, (std::vector<float>{2.0F, 4.0F, -3.25F, -3.0F}));
  dequantize_rows(tensor, 1, 1, nullptr);  // no rows: nothing is touched
}

TEST(Dequantize, GroupIndexReplacesTheOrderOfTheInputs) {
  QuantizedTensor tensor = small_tensor();
  tensor.group_index = {1, 0, 0, 1};
  std::vector<float> out(4);
  dequantize_rows(tensor, 0, 1, out.data());
  EXPECT_EQ(out, (std::vector<float>{0.1F * -7.0F, 3.5F, -0.5F, 0.1F}));
}

TEST(Dequantize, OneGroupPerRow) {
  QuantizedTensor tensor = small_tensor();
  tensor.scheme.group_size = -1;
  tensor.scales = AlignedBuffer<float>(2);
  tensor.zero_points = AlignedBuffer<std::uint8_t>(2);
  tensor.scales[1] = 1.0F;
  EXPECT_EQ(tensor.groups(), 1U);
  std::vector<float> out(8);
  dequantize(tensor, out.data());
  EXPECT_EQ(out, (std::vector<float>{0.0F, 0.0F, 0.0F, 0.0F, 1.0F, 2.0F, 3.0F, 4.0F}));
}

}  // namespace
}  // namespace awq::quant
