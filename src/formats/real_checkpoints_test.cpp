// Checkpoints that other programs wrote. They are no part of the repository: without them these tests are skipped.

#include <gtest/gtest.h>

#include <cmath>

#include "formats/codec_test_support.h"

namespace awq::formats {
namespace {

using namespace test;

/// One quantized model, with what its configuration says.
struct Model {
  explicit Model(const std::filesystem::path& folder)
      : checkpoint(Checkpoint::open(folder)), config(file::read_json_file(folder / "config.json")) {
    codec = codec_of(config, "config.json");
    info = codec->read_config(config.at("quantization_config"), "config.json");
    const std::uint64_t hidden = config.at("hidden_size");
    const std::uint64_t heads = config.at("num_attention_heads");
    const std::uint64_t head_dim =
        config.contains("head_dim") ? config.at("head_dim").get<std::uint64_t>() : hidden / heads;
    const std::uint64_t kv = config.at("num_key_value_heads").get<std::uint64_t>() * head_dim;
    const std::uint64_t mlp = config.at("intermediate_size");
    for (std::uint64_t layer = 0; layer < config.at("num_hidden_layers").get<std::uint64_t>(); ++layer) {
      const std::string prefix = "model.layers." + std::to_string(layer) + ".";
      modules.insert(modules.end(), {{prefix + "self_attn.q_proj", heads * head_dim, hidden},
                                     {prefix + "self_attn.k_proj", kv, hidden},
                                     {prefix + "self_attn.v_proj", kv, hidden},
                                     {prefix + "self_attn.o_proj", hidden, heads * head_dim},
                                     {prefix + "mlp.gate_proj", mlp, hidden},
                                     {prefix + "mlp.up_proj", mlp, hidden},
                                     {prefix + "mlp.down_proj", hidden, mlp}});
    }
  }

  struct Module {
    std::string name;
    std::uint64_t out_features;
    std::uint64_t in_features;
  };
  quant::QuantizedTensor decode(const Module& module) const {
    return codec->decode(checkpoint, module.name, info, module.out_features, module.in_features);
  }

  Checkpoint checkpoint;
  file::Json config;
  const Codec* codec = nullptr;
  QuantizationInfo info;
  std::vector<Module> modules;
};

std::vector<float> dequantized(const quant::QuantizedTensor& tensor) {
  std::vector<float> weights(tensor.out_features * tensor.in_features);
  quant::dequantize(tensor, weights.data());
  return weights;
}

std::vector<float> floats_of(const Checkpoint& checkpoint, const char* name) {
  std::vector<float> values(checkpoint.get(name).elements());
  checkpoint.read_floats(checkpoint.get(name), values);
  return values;
}

/// The bytes that lie in the file for what encode() made are the same.
void expect_same_bytes_as_the_file(const Checkpoint& checkpoint, const std::string& module,
                                   const std::vector<EncodedTensor>& encoded) {
  for (const EncodedTensor& tensor : encoded) {
    const Checkpoint::Tensor& stored = checkpoint.get(module + "." + tensor.suffix);
    EXPECT_EQ(stored.dtype, tensor.dtype);
    EXPECT_EQ(stored.shape, tensor.shape);
    std::vector<std::byte> bytes(stored.size_bytes());
    checkpoint.read(stored, bytes);
    EXPECT_TRUE(bytes == tensor.bytes) << stored.name;
  }
}

TEST(RealCheckpoints, ThreeFormatsHoldTheSameWeights) {
  AWQ_SHARED_FOLDER(folder, "quantized");
  const Model awq(folder / "tinystories-656k-rtn-awq-g128");
  const Model gptq(folder / "tinystories-656k-rtn-gptq-g128");
  const Model compressed(folder / "tinystories-656k-rtn-ct-g128");
  EXPECT_STREQ(awq.codec->name, "awq");
  EXPECT_STREQ(gptq.codec->name, "gptq");
  EXPECT_STREQ(compressed.codec->name, "compressed-tensors");
  for (const Model::Module& module : awq.modules) {
    const quant::QuantizedTensor a = awq.decode(module);
    const quant::QuantizedTensor g = gptq.decode(module);
    const quant::QuantizedTensor c = compressed.decode(module);
    expect_same_weights(a, g);
    expect_same_weights(a, c);
    EXPECT_TRUE(dequantized(a) == dequantized(g) && dequantized(a) == dequantized(c)) << module.name;
    expect_same_bytes_as_the_file(awq.checkpoint, module.name, awq.codec->encode(a));
    expect_same_bytes_as_the_file(compressed.checkpoint, module.name, compressed.codec->encode(a));
  }
}

// The rounding is to nearest without any search, so no weight is further than half a step from the original.
TEST(RealCheckpoints, GroupsOf64AreCloseToTheModelTheyWereMadeFrom) {
  AWQ_SHARED_FOLDER(folder, "quantized/stories-3m-rtn-awq-g64");
  AWQ_SHARED_FOLDER(original_folder, "models/stories-3m");
  const Model model(folder);
  const Checkpoint original = Checkpoint::open(original_folder);
  for (const Model::Module& module : model.modules) {
    const quant::QuantizedTensor tensor = model.decode(module);
    const std::vector<float> weights = dequantized(tensor);
    const std::vector<float> wanted = floats_of(original, (module.name + ".weight").c_str());
    ASSERT_EQ(weights.size(), wanted.size());
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const float scale = tensor.scales[i / 64];
      // Half a step, and what the rounding of the scale to F16 shifts a code of at most 15: 15 / 2^11 of a step.
      ASSERT_LE(std::abs(weights[i] - wanted[i]), 0.508F * scale) << module.name << " " << i;
    }
    expect_same_bytes_as_the_file(model.checkpoint, module.name, model.codec->encode(tensor));
  }
}

TEST(RealCheckpoints, AutoAwqLayerWithActivations) {
  AWQ_SHARED_FOLDER(source, "quantized/awq-gemm-layer-768x2304");
  constexpr std::uint64_t kOutputs = 2304;
  constexpr std::uint64_t kInputs = 768;
  // The files hold one layer without a name: open them as checkpoints, and give the layer a name.
  const auto open = [&](const TempFolder& folder, const char* file) {
    std::filesystem::create_symlink(source / file, folder / "model.safetensors");
    return Checkpoint::open(folder.path());
  };
  const TempFolder folders[3];
  const Checkpoint layer = open(folders[0], "layer.safetensors");
  const Checkpoint activations = open(folders[1], "activations.safetensors");
  const Checkpoint expected = open(folders[2], "expected.safetensors");
  ModuleFolder module({});
  for (const Checkpoint::Tensor& tensor : layer.tensors()) {
    NamedTensor& copy = module.tensors.emplace_back(NamedTensor{tensor, std::vector<std::byte>(tensor.size_bytes())});
    copy.spec.name = "m." + tensor.name;
    layer.read(tensor, copy.bytes);
  }
  const Checkpoint checkpoint = module.open();
  const Codec& codec = *find_codec("awq");
  const quant::QuantizedTensor tensor = codec.decode(checkpoint, "m", {}, kOutputs, kInputs);
  EXPECT_EQ(tensor.scale_dtype, DType::kBf16);
  expect_same_bytes_as_the_file(checkpoint, "m", codec.encode(tensor));

  const std::vector<float> weights = dequantized(tensor);
  const std::vector<float> input0 = floats_of(expected, "weight_row0");  // all outputs of input 0
  for (std::uint64_t n = 0; n < kOutputs; ++n) ASSERT_EQ(weights[n * kInputs], input0[n]) << n;

  const std::vector<float> x = floats_of(activations, "x");
  const std::vector<float> bias = floats_of(layer, "bias");
  const std::vector<float> product = floats_of(expected, "y_first32");
  double largest = 0;
  for (std::uint64_t t = 0; t < 32; ++t) {
    for (std::uint64_t n = 0; n < kOutputs; ++n) {
      double sum = bias[n];
      for (std::uint64_t k = 0; k < kInputs; ++k) {
        sum += static_cast<double>(weights[n * kInputs + k]) * static_cast<double>(x[t * kInputs + k]);
      }
      const double wanted = static_cast<double>(product[t * kOutputs + n]);
      // Stored as binary32: half a unit in the last place, and the order of the float64 sum.
      largest = std::max(largest, std::abs(sum - wanted) / std::max(1.0, std::abs(wanted)));
    }
  }
  EXPECT_LE(largest, 0x1p-23);

  const Codec& other = *find_codec("compressed-tensors");
  const ModuleFolder converted(module_tensors("m", other.encode(tensor)));
  const Checkpoint converted_checkpoint = converted.open();
  QuantizationInfo info;
  expect_same_weights(other.decode(converted_checkpoint, "m", info, kOutputs, kInputs), tensor);
}

}  // namespace
}  // namespace awq::formats
