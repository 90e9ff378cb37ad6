#include <gtest/gtest.h>

#include <cmath>

#include "formats/codec_test_support.h"

namespace awq::formats {
namespace {

using namespace test;

constexpr quant::Scheme kChannel = {
    .bits = 8, .group_size = -1, .symmetric = true, .kind = quant::CodeKind::kE4M3, .rows_per_scale = 1};
constexpr quant::Scheme kBlock = {
    .bits = 8, .group_size = 128, .symmetric = true, .kind = quant::CodeKind::kE4M3, .rows_per_scale = 128};

/// 3 rows of 128 codes, all 0x38 (which is 1), and scales 1, 2, 3 or one for all.
ModuleFolder channel_module() {
  const std::vector<std::uint8_t> codes(3 * 128, 0x38);
  return ModuleFolder({named("m.weight", DType::kF8E4M3, {3, 128}, codes),
                       named<float>("m.weight_scale", DType::kF32, {3, 1}, {1, 2, 3})});
}

quant::QuantizedTensor decoded(const char* name, const ModuleFolder& folder, const quant::Scheme& scheme) {
  QuantizationInfo info;
  info.scheme = scheme;
  const Checkpoint checkpoint = folder.open();
  return find_codec(name)->decode(checkpoint, "m", info, 3, 128);
}

std::string refused(const char* name, const ModuleFolder& folder, const quant::Scheme& scheme) {
  return error_of(ErrorCode::kCorruptFile, [&] { decoded(name, folder, scheme); });
}

TEST(Float8Codec, ChannelsAndTensors) {
  ModuleFolder folder = channel_module();
  std::vector<float> values(3 * 128);
  quant::dequantize(decoded("float-quantized", folder, kChannel), values.data());
  for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], static_cast<float>(1 + i / 128));
  // The other ways to write a column, and one scale for the tensor.
  folder["weight_scale"] = named<float>("m.weight_scale", DType::kF32, {3}, {1, 2, 3});
  quant::dequantize(decoded("float-quantized", folder, kChannel), values.data());
  EXPECT_EQ(values[2 * 128], 3);
  folder["weight_scale"] = named<float>("m.weight_scale", DType::kF32, {1}, {0.5F});
  quant::dequantize(decoded("float-quantized", folder, kChannel), values.data());
  EXPECT_EQ(values[2 * 128], 0.5F);
}

TEST(Float8Codec, Blocks) {
  ModuleFolder folder = channel_module();
  folder.tensors[1] = named<float>("m.weight_scale_inv", DType::kF32, {1, 1}, {4});
  std::vector<float> values(3 * 128);
  quant::dequantize(decoded("fp8", folder, kBlock), values.data());
  EXPECT_EQ(values[0], 4);
  EXPECT_EQ(values.back(), 4);
}

TEST(Float8Codec, HostileFiles) {
  ModuleFolder folder = channel_module();
  folder.remove("weight_scale");
  expect_parts(refused("float-quantized", folder, kChannel), {"m.weight_scale", "missing"});
  folder = channel_module();
  folder["weight"].spec.shape = {128, 3};
  expect_parts(refused("float-quantized", folder, kChannel), {"m.weight", "[128, 3]", "[3, 128]"});
  folder = channel_module();
  folder["weight"].spec.dtype = DType::kU8;
  expect_parts(refused("float-quantized", folder, kChannel), {"m.weight", "U8", "F8_E4M3"});
  folder = channel_module();
  folder["weight_scale"] = named<float>("m.weight_scale", DType::kF32, {2, 1}, {1, 2});
  expect_parts(refused("float-quantized", folder, kChannel), {"m.weight_scale", "[2, 1]", "[3, 1]"});
  folder = channel_module();
  folder["weight_scale"] = named<float>("m.weight_scale", DType::kF32, {3, 1}, {1, INFINITY, 3});
  expect_parts(refused("float-quantized", folder, kChannel), {"m.weight_scale", "element 1", "finite"});
  folder = channel_module();
  std::vector<std::uint8_t> codes(3 * 128, 0x38);
  codes[200] = 0xFF;
  folder["weight"] = named("m.weight", DType::kF8E4M3, {3, 128}, codes);
  expect_parts(refused("float-quantized", folder, kChannel), {"m.weight", "element 200 is NaN"});
  // One scale for all rows is no grid of blocks where there should be more of them.
  folder = channel_module();
  folder.tensors[1] = named<float>("m.weight_scale_inv", DType::kF32, {1, 2}, {4, 4});
  expect_parts(refused("fp8", folder, kBlock), {"m.weight_scale_inv", "[1, 2]", "[1, 1]"});
}

TEST(Float8Codec, RefusesOtherSchemes) {
  const quant::Scheme integers{.bits = 8, .group_size = -1, .symmetric = true};
  EXPECT_NE(find_codec("float-quantized")->refuses(integers, 128, 128), nullptr);
  EXPECT_NE(find_codec("fp8")->refuses(kChannel, 128, 128), nullptr);
  EXPECT_NE(find_codec("fp8")->refuses(kBlock, 128, 100), nullptr);
  EXPECT_EQ(find_codec("fp8")->refuses(kBlock, 100, 128), nullptr);
  EXPECT_NE(find_codec("compressed-tensors")->refuses(kChannel, 128, 128), nullptr);
  EXPECT_NE(find_codec("awq")->refuses(kChannel, 128, 128), nullptr);
}

}  // namespace
}  // namespace awq::formats
