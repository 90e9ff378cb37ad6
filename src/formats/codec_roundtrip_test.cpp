// encode -> file -> decode gives the same tensor, and decode -> encode the same bytes, for every codec that writes.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "formats/codec_test_support.h"

namespace awq::formats {
namespace {

using namespace test;

void expect_round_trip(const Codec& codec, const quant::QuantizedTensor& tensor) {
  const std::uint64_t n = tensor.out_features;
  const std::uint64_t k = tensor.in_features;
  SCOPED_TRACE(fmt::format("{} [{}, {}] {} bits group {} {}", codec.name, n, k, tensor.scheme.bits,
                           tensor.scheme.group_size, tensor.scheme.symmetric ? "symmetric" : "asymmetric"));
  const std::vector<EncodedTensor> encoded = codec.encode(tensor);
  const std::vector<TensorSpec> specs = codec.encoded_specs(tensor.scheme, tensor.scale_dtype, n, k);
  ASSERT_EQ(encoded.size(), specs.size());
  for (std::size_t i = 0; i < specs.size(); ++i) {
    EXPECT_EQ(encoded[i].suffix, specs[i].name);
    EXPECT_EQ(encoded[i].dtype, specs[i].dtype);
    EXPECT_EQ(encoded[i].shape, specs[i].shape);
    EXPECT_EQ(encoded[i].bytes.size(), specs[i].size_bytes());
  }
  EXPECT_EQ(specs[0].name, codec.marker_suffix);

  // The configuration that is written is the one that the decoder gets.
  const std::string config = codec.write_config(summary_of(tensor.scheme)).dump();
  const QuantizationInfo info = codec.read_config(file::parse_json(config, "config"), "config");
  EXPECT_EQ(info.scheme.bits, tensor.scheme.bits);
  EXPECT_EQ(info.scheme.group_size, tensor.scheme.group_size);

  const ModuleFolder folder(module_tensors("m", encoded));
  const Checkpoint checkpoint = folder.open();
  const quant::QuantizedTensor decoded = codec.decode(checkpoint, "m", info, n, k);
  expect_same_weights(decoded, tensor);
  expect_same_encoding(codec.encode(decoded), encoded);
}

TEST(CodecRoundTrip, RandomShapes) {
  std::mt19937 random(8);
  constexpr std::int64_t kGroupSizes[] = {32, 64, 128, -1};
  constexpr DType kScaleTypes[] = {DType::kF16, DType::kBf16, DType::kF32};
  for (const Codec* codec : codecs()) {
    int tried = 0;
    for (int i = 0; i < 240; ++i) {
      TensorOptions options;
      options.scheme.bits = i % 3 == 0 ? static_cast<int>(2 + random() % 7) : 4;
      options.scheme.group_size = kGroupSizes[i % 4];
      options.scheme.symmetric = i % 8 < 4;
      options.scale_dtype = kScaleTypes[random() % 3];
      options.in_features = options.scheme.group_size < 0
                                ? 1 + random() % 300
                                : static_cast<std::uint64_t>(options.scheme.group_size) * (1 + random() % 4);
      options.out_features = 1 + random() % 40;
      if (random() % 2 == 0) options.out_features *= 8;
      if (codec->refuses(options.scheme, options.out_features, options.in_features) != nullptr) continue;
      ++tried;
      expect_round_trip(*codec, random_tensor(options, random));
      if (HasFailure()) return;
    }
    const std::string_view name = codec->name;
    EXPECT_TRUE(tried > 50 || name == "gptq" || name == "float-quantized" || name == "fp8") << name;
  }
}

TEST(CodecRoundTrip, EveryWidthOfCompressedTensors) {
  std::mt19937 random(12);
  for (int bits = 2; bits <= 8; ++bits) {
    for (const std::int64_t group_size : {32, -1}) {
      for (const bool symmetric : {false, true}) {
        expect_round_trip(*find_codec("compressed-tensors"),
                          random_tensor({.out_features = 37,
                                         .in_features = 96,
                                         .scheme = {.bits = bits, .group_size = group_size, .symmetric = symmetric}},
                                        random));
      }
    }
  }
}

TEST(CodecRoundTrip, Float8) {
  std::mt19937 random(11);
  for (const char* name : {"float-quantized", "fp8"}) {
    const bool blocks = std::string_view(name) == "fp8";
    for (int i = 0; i < 40; ++i) {
      TensorOptions options;
      options.scheme = {.bits = 8,
                        .group_size = blocks ? 128 : -1,
                        .symmetric = true,
                        .kind = quant::CodeKind::kE4M3,
                        .rows_per_scale = blocks ? 128 : 1};
      options.scale_dtype = blocks || i % 2 == 0 ? DType::kF32 : DType::kBf16;
      options.in_features = blocks ? 128 * (1 + random() % 3) : 1 + random() % 300;
      options.out_features = 1 + random() % 300;
      quant::QuantizedTensor tensor = random_tensor(options, random);
      for (std::uint8_t& code : tensor.codes) code = (code & 0x7F) == 0x7F ? 0 : code;
      std::fill(tensor.zero_points.begin(), tensor.zero_points.end(), std::uint8_t{0});
      const std::uint64_t groups = tensor.groups();
      for (std::uint64_t n = 0; blocks && n < tensor.out_features; ++n) {
        for (std::uint64_t g = 0; g < groups; ++g) {
          tensor.scales[n * groups + g] = tensor.scales[n / 128 * 128 * groups + g];
        }
      }
      expect_round_trip(*find_codec(name), tensor);
      if (HasFailure()) return;
    }
  }
}

// Awq and compressed-tensors hold the same asymmetric 4-bit weights without loss.
TEST(CodecRoundTrip, FromOneFormatToTheOther) {
  std::mt19937 random(9);
  const quant::QuantizedTensor tensor =
      random_tensor({.out_features = 136, .in_features = 256, .scheme = {.group_size = 64}}, random);
  QuantizationInfo info;
  info.scheme = tensor.scheme;
  const auto through = [&](const char* name, const quant::QuantizedTensor& from) {
    const ModuleFolder folder(module_tensors("m", find_codec(name)->encode(from)));
    const Checkpoint checkpoint = folder.open();
    return find_codec(name)->decode(checkpoint, "m", info, 136, 256);
  };
  expect_same_weights(through("awq", through("compressed-tensors", through("awq", tensor))), tensor);
}

TEST(Codecs, Names) {
  std::vector<std::string> names;
  for (const Codec* codec : codecs()) names.emplace_back(codec->name);
  EXPECT_EQ(names, (std::vector<std::string>{"awq", "float-quantized", "compressed-tensors", "gptq", "fp8"}));
  for (const Codec* codec : codecs()) EXPECT_EQ(find_codec(codec->name), codec);
  EXPECT_EQ(find_codec("gguf"), nullptr);
}

}  // namespace
}  // namespace awq::formats
