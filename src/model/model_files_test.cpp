#include "model/model_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "awq/error.h"
#include "model/decoder.h"
#include "support/checkpoints.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace awq::model {
namespace {

using file::Json;

/// Opens a golden model with other values in config.json; returns the error's text, "" when it opens.
std::string error_with(const char* family, const Json& overrides, ErrorCode code) {
  const test::TempFolder folder;
  test::derive_model(std::filesystem::path(AWQ_SOURCE_DIR) / "tests/golden/models" / family, folder / "m", overrides);
  try {
    ModelFiles::open(folder / "m");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "";
}

TEST(ModelFiles, DescribesTheGoldenModels) {
  for (const auto& folder : test::golden_models()) {
    const ModelFiles files = ModelFiles::open(folder);
    EXPECT_EQ(files.codec(), nullptr);
    EXPECT_EQ(files.linear_name(1, files.architecture().linears[0]), "model.layers.1.self_attn.q_proj");
    const LayerWeights layer = files.load_layer(0);
    for (const LinearSpec& linear : files.architecture().linears) {
      const LinearShape shape = linear_shape(files.config(), linear.role);
      EXPECT_EQ(layer[linear.role].out_features, static_cast<std::uint64_t>(shape.out_features)) << linear.name;
      EXPECT_EQ(layer[linear.role].to_floats().size(),
                static_cast<std::size_t>(shape.out_features * shape.in_features));
      EXPECT_EQ(layer[linear.role].bias.empty(), !linear_has_bias(files.config(), linear.role)) << linear.name;
      EXPECT_EQ(shape.in_features, site_width(files.config(), linear.input));
    }
    EXPECT_EQ(layer.q_norm.empty(), !files.config().qk_norm);
    std::uint64_t elements = 0;
    for (const auto& tensor : files.checkpoint().tensors()) elements += tensor.elements();
    EXPECT_EQ(files.parameter_count(), elements);
  }
}

TEST(ModelFiles, WeightsComeBackFromTheDecoderLayer) {
  const ModelFiles files = ModelFiles::open(test::golden_models().front());
  LayerWeights weights = files.load_layer(0);
  const AlignedBuffer<float> before = weights[Role::kDown].to_floats();
  LayerWeights again = DecoderLayer(std::move(weights)).into_weights();
  const AlignedBuffer<float> after = again[Role::kDown].to_floats();
  EXPECT_TRUE(std::equal(before.begin(), before.end(), after.begin(), after.end()));
  EXPECT_EQ(again.input_norm.size(), static_cast<std::size_t>(files.config().hidden_size));
  EXPECT_FALSE(again[Role::kQ].bias.empty());
}

TEST(ModelFiles, RefusesWhatTheWeightsContradict) {
  EXPECT_EQ(error_with("llama", Json::object(), ErrorCode::kInternal), "");
  EXPECT_NE(error_with("llama", {{"hidden_size", 64}}, ErrorCode::kCorruptFile), "");
  EXPECT_NE(error_with("llama", {{"num_hidden_layers", 3}}, ErrorCode::kCorruptFile), "");
  EXPECT_NE(error_with("llama", {{"vocab_size", 97}}, ErrorCode::kCorruptFile), "");
  EXPECT_NE(error_with("llama", {{"num_attention_heads", 5}}, ErrorCode::kCorruptFile), "");
}

TEST(ModelFiles, RefusesWhatIsNotImplemented) {
  const std::string family = error_with("llama", {{"architectures", {"FalconForCausalLM"}}}, ErrorCode::kUnsupported);
  EXPECT_NE(family.find("FalconForCausalLM"), std::string::npos) << family;
  EXPECT_NE(family.find("Qwen3ForCausalLM"), std::string::npos) << "the supported ones are listed: " << family;
  EXPECT_NE(error_with("llama", {{"hidden_act", "gelu"}}, ErrorCode::kUnsupported), "");
  EXPECT_NE(
      error_with("llama", {{"rope_scaling", {{"rope_type", "longrope"}, {"factor", 2.0}}}}, ErrorCode::kUnsupported),
      "");
}

TEST(ModelFiles, RefusesNumbersOutOfRange) {
  for (const Json& value : {Json(0), Json(-4), Json(1e30), Json("32"), Json(1LL << 40), Json(2.5)}) {
    const std::string text = error_with("llama", {{"hidden_size", value}}, ErrorCode::kCorruptFile);
    EXPECT_NE(text.find("hidden_size"), std::string::npos) << value << ": " << text;
  }
  EXPECT_NE(error_with("llama", {{"rope_theta", 0}}, ErrorCode::kCorruptFile), "");
}

TEST(CheckFinite, NamesTheElement) {
  std::vector<float> values(5, 1.0F);
  EXPECT_NO_THROW(check_finite(values, "w"));
  values[3] = std::numeric_limits<float>::infinity();
  try {
    check_finite(values, "model.norm.weight");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("model.norm.weight\": element 3"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace awq::model
