// What the codecs make of a model's quantization_config, and what they refuse.

#include <gtest/gtest.h>

#include "formats/test_support.h"

namespace awq::formats {
namespace {

using namespace test;

QuantizationInfo read(const std::string& quantization_config) {
  const file::Json model = file::parse_json(R"({"quantization_config":)" + quantization_config + "}", "config.json");
  const Codec* codec = codec_of(model, "config.json");
  return codec->read_config(model.at("quantization_config"), "config.json");
}

std::string compressed(const std::string& weights, const std::string& rest = "") {
  return R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":{)"
         R"("targets":["Linear"],"weights":)" +
         weights + "}}" + rest + "}";
}

TEST(QuantizationConfig, WhichCodec) {
  const auto codec = [](const char* json) { return codec_of(file::parse_json(json, "c"), "c"); };
  EXPECT_EQ(codec("{}"), nullptr);
  EXPECT_EQ(codec(R"({"quantization_config":null})"), nullptr);
  EXPECT_EQ(codec(R"({"quantization_config":{"quant_method":"awq"}})"), find_codec("awq"));
  EXPECT_EQ(codec(R"({"quantization_config":{"quant_method":"gptq"}})"), find_codec("gptq"));
  EXPECT_EQ(codec(R"({"quantization_config":{"quant_method":"compressed-tensors"}})"),
            find_codec("compressed-tensors"));
  EXPECT_EQ(codec(R"({"quantization_config":{"quant_method":"fp8"}})"), find_codec("fp8"));
  EXPECT_EQ(codec(R"({"quantization_config":{"quant_method":"compressed-tensors","format":"float-quantized"}})"),
            find_codec("float-quantized"));
  expect_parts(
      error_of(ErrorCode::kUnsupported, [&] { codec(R"({"quantization_config":{"quant_method":"hqq"}})"); }),
      {"c: quantization_config.quant_method", "\"hqq\"", "awq, float-quantized, compressed-tensors, gptq, fp8"});
  expect_parts(error_of(ErrorCode::kUnsupported, [&] { codec(R"({"quantization_config":{}})"); }), {"quant_method"});
  error_of(ErrorCode::kCorruptFile, [&] { codec(R"({"quantization_config":[]})"); });
  error_of(ErrorCode::kCorruptFile, [&] { codec(R"({"quantization_config":{"quant_method":4}})"); });
  error_of(ErrorCode::kCorruptFile, [&] { codec("[]"); });
}

TEST(QuantizationConfig, Awq) {
  QuantizationInfo info = read(R"({"quant_method":"awq","bits":4,"group_size":128,"zero_point":true,"version":"gemm",)"
                               R"("modules_to_not_convert":null})");
  EXPECT_EQ(info.scheme, (quant::Scheme{.bits = 4, .group_size = 128, .symmetric = false}));
  EXPECT_TRUE(info.not_converted.empty());
  info = read(R"({"quant_method":"awq","w_bit":4,"q_group_size":-1,"zero_point":false,"version":"GEMM",)"
              R"("modules_to_not_convert":["visual","gate"]})");
  EXPECT_EQ(info.scheme, (quant::Scheme{.bits = 4, .group_size = -1, .symmetric = true}));
  EXPECT_EQ(info.not_converted, (std::vector<std::string>{"visual", "gate"}));
}

TEST(QuantizationConfig, Gptq) {
  QuantizationInfo info = read(R"({"quant_method":"gptq","bits":3,"group_size":64,"desc_act":true,"sym":false})");
  EXPECT_EQ(info.scheme, (quant::Scheme{.bits = 3, .group_size = 64, .symmetric = false}));
  EXPECT_TRUE(info.zero_offset_by_one);
  EXPECT_TRUE(info.needs_group_index);
  info = read(R"({"quant_method":"gptq","bits":4,"group_size":-1,"checkpoint_format":"gptq_v2","format":"gptq_v2",)"
              R"("dynamic":{"-:lm_head":{}},"pack_dtype":"int32"})");
  EXPECT_EQ(info.scheme, (quant::Scheme{.bits = 4, .group_size = -1, .symmetric = true}));
  EXPECT_FALSE(info.zero_offset_by_one);
  EXPECT_FALSE(info.needs_group_index);
}

TEST(QuantizationConfig, CompressedTensors) {
  QuantizationInfo info =
      read(compressed(R"({"num_bits":4,"type":"int","symmetric":false,"strategy":"group","group_size":32,)"
                      R"("dynamic":false,"actorder":null})",
                      R"(,"ignore":["lm_head","re:.*gate$"],"sparsity_config":{},"transform_config":{})"));
  EXPECT_EQ(info.scheme, (quant::Scheme{.bits = 4, .group_size = 32, .symmetric = false}));
  EXPECT_EQ(info.not_converted, (std::vector<std::string>{"lm_head", "re:.*gate$"}));
  EXPECT_FALSE(info.needs_group_index);
  info = read(compressed(R"({"num_bits":8,"strategy":"channel","group_size":null,"actorder":"weight"})"));
  EXPECT_EQ(info.scheme, (quant::Scheme{.bits = 8, .group_size = -1, .symmetric = true}));
  EXPECT_FALSE(info.needs_group_index);
  info = read(compressed(R"({"num_bits":4,"strategy":"group","group_size":128,"actorder":"group"})"));
  EXPECT_TRUE(info.needs_group_index);
}

TEST(QuantizationConfig, GroupsOfCompressedTensors) {
  const auto group = [](const char* targets, const char* weights) {
    return std::string(R"({"targets":)") + targets + R"(,"weights":)" + weights + "}";
  };
  const QuantizationInfo info = read(
      R"({"quant_method":"compressed-tensors","config_groups":{"a":)" +
      group(R"(["Linear"])", R"({"num_bits":4,"strategy":"group","group_size":32,"symmetric":false})") + R"(,"b":)" +
      group(R"(["re:.*down_proj$","Embedding"])", R"({"num_bits":8,"strategy":"channel"})") + R"(,"c":)" +
      group(R"(["m.1.down_proj"])", R"({"num_bits":3,"strategy":"group","group_size":64,"actorder":"group"})") + "}}");
  EXPECT_EQ(info.scheme.bits, 4);
  const auto scheme = [&](const char* module, ModuleClass kind) { return info.of(module, kind).scheme; };
  EXPECT_EQ(scheme("m.0.q_proj", ModuleClass::kLinear), (quant::Scheme{.bits = 4, .group_size = 32}));
  EXPECT_EQ(scheme("m.0.down_proj", ModuleClass::kLinear),
            (quant::Scheme{.bits = 8, .group_size = -1, .symmetric = true}));
  EXPECT_EQ(scheme("m.1.down_proj", ModuleClass::kLinear),
            (quant::Scheme{.bits = 3, .group_size = 64, .symmetric = true}));
  EXPECT_TRUE(info.of("m.1.down_proj", ModuleClass::kLinear).needs_group_index);
  EXPECT_FALSE(info.of("m.0.down_proj", ModuleClass::kLinear).needs_group_index);
  EXPECT_EQ(scheme("embed", ModuleClass::kEmbedding).bits, 8);
  const QuantizationInfo linears = read(compressed(R"({"num_bits":4,"strategy":"channel"})"));
  test::expect_parts(
      test::error_of(ErrorCode::kCorruptFile, [&] { return linears.of("embed", ModuleClass::kEmbedding); }),
      {"config_groups", "no group targets \"embed\""});
}

struct Refusal {
  std::string config;
  ErrorCode code;
  const char* field;
};

class BadConfig : public testing::TestWithParam<Refusal> {};

TEST_P(BadConfig, IsRefusedWithFileAndField) {
  const Refusal& refusal = GetParam();
  expect_parts(error_of(refusal.code, [&] { read(refusal.config); }),
               {"config.json: quantization_config", refusal.field});
}

constexpr ErrorCode kCorrupt = ErrorCode::kCorruptFile;
constexpr ErrorCode kUnsupported = ErrorCode::kUnsupported;

std::string awq_with(const std::string& rest) { return R"({"quant_method":"awq",)" + rest + "}"; }
std::string gptq_with(const std::string& rest) {
  return R"({"quant_method":"gptq","bits":4,"group_size":128,)" + rest + "}";
}

INSTANTIATE_TEST_SUITE_P(
    Awq, BadConfig,
    testing::Values(Refusal{awq_with(R"("group_size":128)"), kCorrupt, "bits: is missing"},
                    Refusal{awq_with(R"("bits":4)"), kCorrupt, "group_size: is missing"},
                    Refusal{awq_with(R"("bits":3,"group_size":128)"), kUnsupported, "bits: found 3"},
                    Refusal{awq_with(R"("bits":"4","group_size":128)"), kCorrupt, "bits: found \"4\""},
                    Refusal{awq_with(R"("bits":4.0,"group_size":128)"), kCorrupt, "bits"},
                    Refusal{awq_with(R"("bits":18446744073709551615,"group_size":128)"), kCorrupt, "bits"},
                    Refusal{awq_with(R"("bits":4,"w_bit":8,"group_size":128)"), kCorrupt, "w_bit: contradicts bits"},
                    Refusal{awq_with(R"("bits":4,"group_size":0)"), kCorrupt, "group_size: found 0"},
                    Refusal{awq_with(R"("bits":4,"group_size":-2)"), kCorrupt, "group_size: found -2"},
                    Refusal{awq_with(R"("bits":4,"group_size":128,"zero_point":1)"), kCorrupt, "zero_point"},
                    Refusal{awq_with(R"("bits":4,"group_size":128,"version":"gemv")"), kUnsupported, "\"gemv\""},
                    Refusal{awq_with(R"("bits":4,"group_size":128,"version":"GEMV_FAST")"), kUnsupported, "version"},
                    Refusal{awq_with(R"("bits":4,"group_size":128,"format":"marlin")"), kUnsupported, "format"},
                    Refusal{awq_with(R"("bits":4,"group_size":128,"version":1)"), kCorrupt, "version"},
                    Refusal{awq_with(R"("bits":4,"group_size":128,"modules_to_not_convert":"a")"), kCorrupt, "modules"},
                    Refusal{awq_with(R"("bits":4,"group_size":128,"modules_to_not_convert":[1])"), kCorrupt,
                            "modules"}));

INSTANTIATE_TEST_SUITE_P(
    Gptq, BadConfig,
    testing::Values(Refusal{R"({"quant_method":"gptq","bits":5,"group_size":128})", kUnsupported, "bits: found 5"},
                    Refusal{gptq_with(R"("checkpoint_format":"marlin")"), kUnsupported, "\"marlin\""},
                    Refusal{gptq_with(R"("checkpoint_format":"gptq","format":"gptq_v2")"), kCorrupt, "contradicts"},
                    Refusal{gptq_with(R"("is_marlin_format":true)"), kUnsupported, "is_marlin_format"},
                    Refusal{gptq_with(R"("pack_dtype":"int64")"), kUnsupported, "pack_dtype"},
                    Refusal{gptq_with(R"("dynamic":{"+:.*down.*":{"bits":8}})"), kUnsupported, "dynamic"},
                    Refusal{gptq_with(R"("dynamic":[])"), kCorrupt, "dynamic"},
                    Refusal{gptq_with(R"("desc_act":"yes")"), kCorrupt, "desc_act"}));

const std::string kGroup = R"({"num_bits":4,"strategy":"group","group_size":128})";

const std::string kFloat = R"("format":"float-quantized","config_groups":{"a":{"targets":["Linear"],"weights":)";

INSTANTIATE_TEST_SUITE_P(
    Float8, BadConfig,
    testing::Values(
        Refusal{R"({"quant_method":"compressed-tensors","format":"float-quantized"})", kUnsupported, "config_groups"},
        Refusal{R"({"quant_method":"compressed-tensors",)" + kFloat + R"({"num_bits":4,"type":"float"}}}})",
                kUnsupported, "weights.num_bits"},
        Refusal{R"({"quant_method":"compressed-tensors",)" + kFloat + R"({"num_bits":8,"type":"int"}}}})", kUnsupported,
                "weights.type"},
        Refusal{R"({"quant_method":"compressed-tensors",)" + kFloat +
                    R"({"num_bits":8,"type":"float","strategy":"block"}}}})",
                kUnsupported, "weights.strategy"},
        Refusal{R"({"quant_method":"fp8"})", kUnsupported, "weight_block_size"},
        Refusal{R"({"quant_method":"fp8","weight_block_size":[64,128]})", kUnsupported, "[128, 128]"},
        Refusal{R"({"quant_method":"fp8","fmt":"e5m2","weight_block_size":[128,128]})", kUnsupported, "fmt"}));

INSTANTIATE_TEST_SUITE_P(
    CompressedTensors, BadConfig,
    testing::Values(
        Refusal{R"({"quant_method":"compressed-tensors"})", kCorrupt, "config_groups: is missing"},
        Refusal{R"({"quant_method":"compressed-tensors","config_groups":{}})", kCorrupt, "config_groups: is empty"},
        Refusal{R"({"quant_method":"compressed-tensors","config_groups":{"a":{},"b":{}}})", kCorrupt,
                "config_groups.a.targets: is missing or empty"},
        Refusal{R"({"quant_method":"compressed-tensors","config_groups":{"a":{"targets":["Linear"],)"
                R"("weights":{"num_bits":4,"strategy":"channel"}},"b":{"targets":["lm_head"],"weights":null}}})",
                kCorrupt, "config_groups.b.weights: is missing"},
        Refusal{R"({"quant_method":"compressed-tensors","config_groups":{"a":null}})", kCorrupt, "config_groups.a"},
        Refusal{R"({"quant_method":"compressed-tensors","config_groups":{"a":{"targets":["Linear"]}}})", kCorrupt,
                "config_groups.a.weights: is missing"},
        Refusal{R"({"quant_method":"compressed-tensors","format":"int-quantized","config_groups":{"a":{}}})",
                kUnsupported, "format: \"int-quantized\""},
        Refusal{R"({"quant_method":"compressed-tensors","config_groups":{"a":{"targets":["re:(a"],"weights":{}}}})",
                kUnsupported, "a ( without its )"},
        Refusal{R"({"quant_method":"compressed-tensors","config_groups":{"a":{"targets":["Linear"],)"
                R"("input_activations":{"num_bits":8},"weights":{}}}})",
                kUnsupported, "input_activations"},
        Refusal{compressed(kGroup, R"(,"transform_config":{"config_groups":{}})"), kUnsupported, "transform_config"},
        Refusal{compressed(kGroup, R"(,"sparsity_config":{"format":"sparse-24-bitmask"})"), kUnsupported, "sparsity"},
        Refusal{compressed(kGroup, R"(,"ignore":"lm_head")"), kCorrupt, "ignore"},
        Refusal{compressed("3"), kCorrupt, "weights: not an object"},
        Refusal{compressed(R"({"num_bits":4,"type":"float","strategy":"channel"})"), kUnsupported, "type"},
        Refusal{compressed(R"({"num_bits":16,"strategy":"channel"})"), kUnsupported, "num_bits: found 16"},
        Refusal{compressed(R"({"num_bits":4,"strategy":"channel","dynamic":true})"), kCorrupt, "dynamic"},
        Refusal{compressed(R"({"num_bits":4})"), kCorrupt, "strategy: is missing"},
        Refusal{compressed(R"({"num_bits":4,"strategy":"group"})"), kCorrupt, "group_size: is missing"},
        Refusal{compressed(R"({"num_bits":4,"strategy":"channel","group_size":64})"), kCorrupt, "contradicts"},
        Refusal{compressed(R"({"num_bits":4,"strategy":"block"})"), kUnsupported, "strategy: \"block\""},
        Refusal{compressed(R"({"num_bits":4,"strategy":"channel","actorder":"other"})"), kUnsupported, "actorder"}));

}  // namespace
}  // namespace awq::formats
