#include <gtest/gtest.h>

#include "base/float16.h"
#include "formats/codec_test_support.h"

namespace awq::formats {
namespace {

using namespace test;

const Codec& awq() { return *find_codec("awq"); }

QuantizationInfo group_info(std::int64_t group_size, bool symmetric = false) {
  QuantizationInfo info;
  info.scheme = {.bits = 4, .group_size = group_size, .symmetric = symmetric};
  return info;
}

/// The worked example of docs/formats/awq-gemm.md: N = 8, K = 4, one group.
quant::QuantizedTensor worked_example() {
  constexpr std::uint8_t kCodes[8][4] = {{0, 8, 10, 15}, {15, 0, 5, 10}, {15, 6, 12, 3},  {10, 5, 0, 0},
                                         {0, 0, 0, 0},   {15, 0, 12, 8}, {5, 10, 15, 15}, {4, 10, 0, 15}};
  constexpr std::uint8_t kZeroPoints[8] = {7, 5, 0, 15, 0, 8, 0, 6};
  constexpr std::uint16_t kScales[8] = {0x2E66, 0x2A66, 0x2A66, 0x291F, 0x000B, 0x3266, 0x1819, 0x2A66};
  quant::QuantizedTensor tensor;
  tensor.out_features = 8;
  tensor.in_features = 4;
  tensor.scheme.group_size = 4;
  tensor.codes = AlignedBuffer<std::uint8_t>(32);
  tensor.scales = AlignedBuffer<float>(8);
  tensor.zero_points = AlignedBuffer<std::uint8_t>(8);
  for (std::size_t n = 0; n < 8; ++n) {
    for (std::size_t k = 0; k < 4; ++k) tensor.codes[4 * n + k] = kCodes[n][k];
    tensor.scales[n] = to_float(F16{kScales[n]});
    tensor.zero_points[n] = kZeroPoints[n];
  }
  return tensor;
}

template <typename T>
std::vector<T> values_of(const EncodedTensor& encoded) {
  std::vector<T> values(encoded.bytes.size() / sizeof(T));
  std::memcpy(values.data(), encoded.bytes.data(), encoded.bytes.size());
  return values;
}

TEST(AwqGemm, WorkedExample) {
  const std::vector<EncodedTensor> encoded = awq().encode(worked_example());
  ASSERT_EQ(encoded.size(), 3U);
  EXPECT_EQ(encoded[0].suffix, "qweight");
  EXPECT_EQ(encoded[0].shape, (std::vector<std::uint64_t>{4, 1}));
  EXPECT_EQ(values_of<std::int32_t>(encoded[0]),
            (std::vector<std::int32_t>{1336889584, -1605328792, 201715914, -133500865}));
  EXPECT_EQ(encoded[1].suffix, "qzeros");
  EXPECT_EQ(values_of<std::int32_t>(encoded[1]), (std::vector<std::int32_t>{1760886791}));
  EXPECT_EQ(encoded[2].suffix, "scales");
  EXPECT_EQ(encoded[2].shape, (std::vector<std::uint64_t>{1, 8}));
  EXPECT_EQ(values_of<std::uint16_t>(encoded[2]),
            (std::vector<std::uint16_t>{0x2E66, 0x2A66, 0x2A66, 0x291F, 0x000B, 0x3266, 0x1819, 0x2A66}));

  const ModuleFolder folder(module_tensors("m", encoded));
  const Checkpoint checkpoint = folder.open();
  const quant::QuantizedTensor decoded = awq().decode(checkpoint, "m", group_info(4), 8, 4);
  expect_same_weights(decoded, worked_example());
  std::vector<float> weights(32);
  quant::dequantize(decoded, weights.data());
  EXPECT_EQ(weights[3], to_float(F16{0x2E66}) * 8.0F);       // 0.80 of output 0
  EXPECT_EQ(weights[4 * 3], to_float(F16{0x291F}) * -5.0F);  // -0.2 of output 3
}

TEST(AwqGemm, SymmetricIsStoredWithZeroPointEight) {
  std::mt19937 random(4);
  const quant::QuantizedTensor tensor =
      random_tensor({.scheme = {.bits = 4, .group_size = 16, .symmetric = true}}, random);
  const std::vector<EncodedTensor> encoded = awq().encode(tensor);
  for (const std::uint32_t word : values_of<std::uint32_t>(encoded[1])) EXPECT_EQ(word, 0x88888888U);
  const ModuleFolder folder(module_tensors("m", encoded));
  const Checkpoint checkpoint = folder.open();
  expect_same_weights(awq().decode(checkpoint, "m", group_info(16), 8, 32), tensor);
  EXPECT_TRUE(awq().decode(checkpoint, "m", group_info(16, true), 8, 32).scheme.symmetric);
}

TEST(AwqGemm, Refusals) {
  const auto reason = [](quant::Scheme scheme, std::uint64_t n, std::uint64_t k) {
    const char* text = awq().refuses(scheme, n, k);
    return std::string(text == nullptr ? "" : text);
  };
  EXPECT_EQ(reason({}, 8, 128), "");
  EXPECT_EQ(reason({.group_size = -1}, 8, 100), "");
  EXPECT_EQ(reason({}, 8, 100), "in_features is not a multiple of the group size");
  EXPECT_EQ(reason({}, 8, 64), "in_features is not a multiple of the group size");
  EXPECT_EQ(reason({}, 12, 128), "out_features is not a multiple of 8");
  EXPECT_EQ(reason({}, 0, 128), "out_features is not a multiple of 8");
  EXPECT_EQ(reason({.bits = 3}, 8, 128), "the awq format stores 4 bits only");
  EXPECT_NE(reason({.group_size = 0}, 8, 128), "");
  EXPECT_NE(reason({}, 8, 0), "");
}

TEST(AwqGemm, WhatCannotBeEncoded) {
  quant::QuantizedTensor tensor = worked_example();
  tensor.zero_points[3] = 16;
  expect_parts(error_of(ErrorCode::kUnsupported, [&] { awq().encode(tensor); }), {"zero point 16"});
  tensor = worked_example();
  tensor.group_index = {0, 0, 0, 0};
  expect_parts(error_of(ErrorCode::kUnsupported, [&] { awq().encode(tensor); }), {"order of the inputs"});
  tensor = worked_example();
  tensor.scales[0] = 0.1F;  // no F16 value
  error_of(ErrorCode::kInternal, [&] { awq().encode(tensor); });
  tensor = worked_example();
  tensor.codes[0] = 16;
  error_of(ErrorCode::kInternal, [&] { awq().encode(tensor); });
}

/// A valid module [8, 32] with groups of 16, to be damaged.
ModuleFolder valid_module() {
  std::mt19937 random(5);
  return ModuleFolder(module_tensors("m", awq().encode(random_tensor({.scheme = {.group_size = 16}}, random))));
}

std::string refused(const ModuleFolder& folder, const QuantizationInfo& info = group_info(16), std::uint64_t n = 8,
                    std::uint64_t k = 32) {
  const Checkpoint checkpoint = folder.open();
  return error_of(ErrorCode::kCorruptFile, [&] { awq().decode(checkpoint, "m", info, n, k); });
}

TEST(AwqGemmHostile, MissingTensors) {
  for (const char* suffix : {"qweight", "qzeros", "scales"}) {
    ModuleFolder folder = valid_module();
    folder.remove(suffix);
    expect_parts(refused(folder), {std::string("m.") + suffix, "missing"});
  }
}

TEST(AwqGemmHostile, WrongDtype) {
  ModuleFolder folder = valid_module();
  folder["qweight"].spec.dtype = DType::kF32;
  expect_parts(refused(folder), {"model.safetensors", "m.qweight", "dtype F32, expected I32"});
  folder = valid_module();
  folder["scales"].spec.dtype = DType::kI16;
  expect_parts(refused(folder), {"m.scales", "dtype I16, expected F16 or BF16 or F32"});
}

TEST(AwqGemmHostile, WrongShape) {
  ModuleFolder folder = valid_module();
  folder["qweight"].spec.shape = {16, 2};
  expect_parts(refused(folder), {"m.qweight", "shape [16, 2], expected [32, 1]", "in_features 32"});
  folder = valid_module();
  folder["qzeros"].spec.shape = {2};
  expect_parts(refused(folder), {"m.qzeros", "shape [2], expected [2, 1]"});
  folder = valid_module();
  folder["scales"].spec.shape = {8, 2};
  expect_parts(refused(folder), {"m.scales", "shape [8, 2], expected [2, 8]"});
}

TEST(AwqGemmHostile, ShapesThatTheConfigurationContradicts) {
  const ModuleFolder folder = valid_module();
  expect_parts(refused(folder, group_info(8)), {"m.qzeros", "shape"});
  expect_parts(refused(folder, group_info(24)), {"\"m\"", "not a multiple of the group size"});
  expect_parts(refused(folder, group_info(16), 12, 32), {"m.qweight", "not a multiple of 8"});
  expect_parts(refused(folder, group_info(16), 16, 32), {"m.qweight", "[32, 2]"});
  expect_parts(refused(folder, group_info(16), 8, 0), {"\"m\"", "no weights"});
  expect_parts(refused(folder, group_info(16), std::uint64_t{1} << 63, std::uint64_t{1} << 63), {"m.qweight"});
  expect_parts(refused(folder, group_info(16, true)), {"m.qzeros", "zero_point is false"});
}

TEST(AwqGemmHostile, ScalesThatAreNotFinite) {
  ModuleFolder folder = valid_module();
  const std::uint16_t infinity = 0x7C00;
  std::memcpy(folder["scales"].bytes.data() + 2 * (8 + 3), &infinity, 2);
  expect_parts(refused(folder), {"m.scales", "output 3, group 1"});
}

TEST(AwqGemmConfig, WritesWhatServersRead) {
  const file::OrderedJson config = awq().write_config(summary_of({.bits = 4, .group_size = 64, .symmetric = true}));
  EXPECT_EQ(config.dump(), R"({"quant_method":"awq","bits":4,"group_size":64,"zero_point":true,"version":"gemm",)"
                           R"("modules_to_not_convert":null})");
}

// Servers look for each entry anywhere in the module's name.
TEST(AwqGemmConfig, NoEntryMatchesAQuantizedModule) {
  QuantizationSummary summary;
  for (int layer = 0; layer < 24; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    for (const char* name : {"self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"}) {
      const bool keep = layer == 1 || (layer == 2 && std::string_view(name) == "mlp.down_proj");
      (keep ? summary.unquantized_linears : summary.quantized_modules).push_back(prefix + name);
    }
  }
  summary.unquantized_linears.push_back("lm_head");
  const file::OrderedJson config = awq().write_config(summary);
  const auto entries = config.at("modules_to_not_convert").get<std::vector<std::string>>();
  EXPECT_EQ(entries.back(), "lm_head");
  const auto matches = [&](const std::string& module) {
    return std::any_of(entries.begin(), entries.end(),
                       [&](const std::string& entry) { return module.find(entry) != std::string::npos; });
  };
  for (const std::string& module : summary.quantized_modules) EXPECT_FALSE(matches(module)) << module;
  for (const std::string& module : summary.unquantized_linears) EXPECT_TRUE(matches(module)) << module;
}

TEST(AwqGemmConfig, AModelThatCannotBeDescribedIsRefused) {
  QuantizationSummary summary;
  summary.quantized_modules = {"model.layers.0.mlp.gate_proj"};
  summary.unquantized_linears = {"model.layers.0.mlp.gate"};
  expect_parts(error_of(ErrorCode::kUnsupported, [&] { awq().write_config(summary); }),
               {"model.layers.0.mlp.gate\"", "model.layers.0.mlp.gate_proj", "compressed-tensors"});
}

}  // namespace
}  // namespace awq::formats
