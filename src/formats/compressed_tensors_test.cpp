#include <gtest/gtest.h>

#include "formats/codec_test_support.h"

namespace awq::formats {
namespace {

using namespace test;

const Codec& codec() { return *find_codec("compressed-tensors"); }

QuantizationInfo info_of(const quant::Scheme& scheme) {
  QuantizationInfo info;
  info.scheme = scheme;
  return info;
}

constexpr quant::Scheme kAsymmetric = {.bits = 4, .group_size = 16, .symmetric = false};

ModuleFolder valid_module(const quant::Scheme& scheme = kAsymmetric) {
  std::mt19937 random(6);
  return ModuleFolder(
      module_tensors("m", codec().encode(random_tensor({.out_features = 12, .scheme = scheme}, random))));
}

std::string refused(const ModuleFolder& folder, const QuantizationInfo& info = info_of(kAsymmetric),
                    std::uint64_t n = 12, std::uint64_t k = 32) {
  const Checkpoint checkpoint = folder.open();
  return error_of(ErrorCode::kCorruptFile, [&] { codec().decode(checkpoint, "m", info, n, k); });
}

TEST(CompressedTensors, KnownWords) {
  // q = -8..7 is stored as 0..15 in natural order; zero points of a group run down a column.
  quant::QuantizedTensor tensor;
  tensor.out_features = 9;
  tensor.in_features = 16;
  tensor.scheme.group_size = 8;
  tensor.codes = AlignedBuffer<std::uint8_t>(9 * 16);
  tensor.scales = AlignedBuffer<float>(18);
  tensor.zero_points = AlignedBuffer<std::uint8_t>(18);
  for (std::size_t n = 0; n < 9; ++n) {
    for (std::size_t k = 0; k < 16; ++k) tensor.codes[16 * n + k] = static_cast<std::uint8_t>(k);
    tensor.zero_points[2 * n] = static_cast<std::uint8_t>(n);
    tensor.zero_points[2 * n + 1] = static_cast<std::uint8_t>(15 - n);
  }
  const std::vector<EncodedTensor> encoded = codec().encode(tensor);
  ASSERT_EQ(encoded.size(), 4U);
  EXPECT_EQ(encoded[0].suffix, "weight_packed");
  EXPECT_EQ(encoded[0].shape, (std::vector<std::uint64_t>{9, 2}));
  std::uint32_t words[4];
  std::memcpy(words, encoded[0].bytes.data(), 8);
  EXPECT_EQ(words[0], 0x76543210U);
  EXPECT_EQ(words[1], 0xFEDCBA98U);
  EXPECT_EQ(encoded[1].suffix, "weight_scale");
  EXPECT_EQ(encoded[1].shape, (std::vector<std::uint64_t>{9, 2}));
  EXPECT_EQ(encoded[2].suffix, "weight_shape");
  EXPECT_EQ(encoded[2].dtype, DType::kI64);
  std::int64_t shape[2];
  std::memcpy(shape, encoded[2].bytes.data(), 16);
  EXPECT_EQ(shape[0], 9);
  EXPECT_EQ(shape[1], 16);
  EXPECT_EQ(encoded[3].suffix, "weight_zero_point");
  EXPECT_EQ(encoded[3].shape, (std::vector<std::uint64_t>{2, 2}));
  std::memcpy(words, encoded[3].bytes.data(), 16);
  EXPECT_EQ(words[0], 0x76543210U);  // group 0, outputs 0..7
  EXPECT_EQ(words[1], 0x89ABCDEFU);  // group 1, outputs 0..7
  EXPECT_EQ(words[2], 0x00000008U);  // group 0, output 8
  EXPECT_EQ(words[3], 0x00000007U);  // group 1, output 8
}

TEST(CompressedTensors, GroupIndex) {
  ModuleFolder folder = valid_module();
  std::vector<std::int32_t> index(32);
  for (std::size_t k = 0; k < 32; ++k) index[k] = static_cast<std::int32_t>(k % 2);
  folder.tensors.push_back(named("m.weight_g_idx", DType::kI32, {32}, index));
  QuantizationInfo info = info_of(kAsymmetric);
  info.needs_group_index = true;
  {
    const Checkpoint checkpoint = folder.open();
    EXPECT_EQ(codec().decode(checkpoint, "m", info, 12, 32).group_index, index);
  }
  index[5] = 2;
  folder["weight_g_idx"] = named("m.weight_g_idx", DType::kI32, {32}, index);
  expect_parts(refused(folder, info), {"m.weight_g_idx", "input 5 is in group 2, expected 0 to 1"});
  folder.remove("weight_g_idx");
  expect_parts(refused(folder, info), {"m.weight_g_idx", "missing"});
}

TEST(CompressedTensorsHostile, MissingTensors) {
  for (const char* suffix : {"weight_packed", "weight_scale", "weight_shape", "weight_zero_point"}) {
    ModuleFolder folder = valid_module();
    folder.remove(suffix);
    expect_parts(refused(folder), {std::string("m.") + suffix, "missing"});
  }
}

TEST(CompressedTensorsHostile, DtypesAndShapes) {
  ModuleFolder folder = valid_module();
  folder["weight_packed"].spec.shape = {4, 12};
  expect_parts(refused(folder), {"m.weight_packed", "shape [4, 12], expected [12, 4]"});
  folder = valid_module();
  folder["weight_packed"].spec.dtype = DType::kF32;
  expect_parts(refused(folder), {"m.weight_packed", "dtype F32, expected I32"});
  folder = valid_module();
  folder["weight_zero_point"].spec.shape = {4};
  expect_parts(refused(folder), {"m.weight_zero_point", "shape [4], expected [2, 2]"});
  folder = valid_module();
  folder["weight_shape"] = named<std::int64_t>("m.weight_shape", DType::kI64, {2}, {12, -32});
  expect_parts(refused(folder), {"m.weight_shape", "expected [12, 32]"});
  folder = valid_module();
  folder["weight_scale"].spec.shape = {24, 1};
  expect_parts(refused(folder), {"m.weight_scale", "shape [24, 1], expected [12, 2]"});
}

TEST(CompressedTensorsHostile, ConfigurationOfAnotherModel) {
  const ModuleFolder folder = valid_module();
  expect_parts(refused(folder, info_of({.bits = 3, .group_size = 16})), {"m.weight_packed", "3 bits"});
  expect_parts(refused(folder, info_of({.bits = 4, .group_size = 12})), {"\"m\"", "not a multiple"});
  expect_parts(refused(folder, info_of({.bits = 4, .group_size = -1})), {"m.weight_zero_point"});
  expect_parts(refused(folder, info_of(kAsymmetric), 32, 12), {"\"m\""});
  expect_parts(refused(folder, info_of(kAsymmetric), ~std::uint64_t{0}, 32), {"m.weight_shape"});
}

TEST(CompressedTensorsConfig, Group) {
  const file::OrderedJson config = codec().write_config(
      summary_of({.bits = 4, .group_size = 32, .symmetric = false}, {"model.layers.3.mlp.down_proj", "lm_head"}));
  EXPECT_EQ(config.dump(),
            R"({"quant_method":"compressed-tensors","format":"pack-quantized","quantization_status":"compressed",)"
            R"("config_groups":{"group_0":{"targets":["Linear"],"weights":{"num_bits":4,"type":"int",)"
            R"("symmetric":false,"strategy":"group","group_size":32,"dynamic":false,"actorder":null,)"
            R"("block_structure":null,"observer":"minmax","observer_kwargs":{}},"input_activations":null,)"
            R"("output_activations":null}},"ignore":["model.layers.3.mlp.down_proj","lm_head"],)"
            R"("global_compression_ratio":null,"kv_cache_scheme":null})");
}

TEST(CompressedTensorsConfig, Channel) {
  const file::OrderedJson config = codec().write_config(summary_of({.bits = 8, .group_size = -1, .symmetric = true}));
  const file::OrderedJson& weights = config.at("config_groups").at("group_0").at("weights");
  EXPECT_EQ(weights.at("strategy"), "channel");
  EXPECT_TRUE(weights.at("group_size").is_null());
  EXPECT_EQ(config.at("ignore").dump(), "[]");
}

// A server asks for the class of a fused linear before it asks for the names of its parts.
TEST(CompressedTensorsConfig, LinearsOfTwoSchemesGoByName) {
  QuantizationSummary summary = summary_of({.bits = 4, .group_size = 32}, {"lm_head"});
  summary.other_linears = {{{.bits = 8, .group_size = 32, .symmetric = true}, {"model.layers.0.mlp.down_proj"}}};
  const file::OrderedJson groups = codec().write_config(summary).at("config_groups");
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups.at("group_0").at("targets").dump(), R"(["model.layers.0.self_attn.q_proj"])");
  EXPECT_EQ(groups.at("group_0").at("weights").at("num_bits"), 4);
  EXPECT_EQ(groups.at("group_1").at("targets").dump(), R"(["model.layers.0.mlp.down_proj"])");
  EXPECT_EQ(groups.at("group_1").at("weights").at("num_bits"), 8);
}

TEST(CompressedTensorsConfig, EmbeddingAndHeadAreAGroupOfTheirOwn) {
  QuantizationSummary summary = summary_of({.bits = 4, .group_size = 32});
  summary.vocabulary = {{{.bits = 8, .group_size = 32, .symmetric = true}, {"model.embed_tokens", "lm_head"}}};
  const file::OrderedJson config = codec().write_config(summary);
  EXPECT_EQ(config.at("config_groups").at("group_0").at("targets").dump(), R"(["Linear"])");
  EXPECT_EQ(config.at("config_groups").at("group_1").at("targets").dump(), R"(["model.embed_tokens","lm_head"])");
  const QuantizationInfo info = codec().read_config(file::parse_json(config.dump(), "c"), "c");
  EXPECT_EQ(info.of("model.layers.5.mlp.up_proj", ModuleClass::kLinear).scheme, summary.scheme);
  EXPECT_EQ(info.of("lm_head", ModuleClass::kLinear).scheme.bits, 8);
  EXPECT_EQ(info.of("model.embed_tokens", ModuleClass::kEmbedding).scheme.bits, 8);
}

TEST(CompressedTensors, Refusals) {
  EXPECT_EQ(codec().refuses({}, 5, 128), nullptr);
  EXPECT_STREQ(codec().refuses({}, 8, 130), "in_features is not a multiple of the group size");
  EXPECT_NE(codec().refuses({.bits = 1}, 8, 128), nullptr);
  EXPECT_NE(codec().refuses({.bits = 9}, 8, 128), nullptr);
  EXPECT_NE(codec().refuses({}, 0, 128), nullptr);
}

}  // namespace
}  // namespace awq::formats
