#include "quantize/gguf_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "support/checkpoints.h"
#include "support/paths.h"
#include "support/temp_folder.h"

namespace awq::quantize {
namespace {

using model::Role;
using quant::GgufType;

const std::filesystem::path kGolden = std::filesystem::path(AWQ_SOURCE_DIR) / "tests" / "golden" / "models";
const std::filesystem::path kBooks = std::filesystem::path(AWQ_SOURCE_DIR) / "models" / "books-12m";

TEST(GgufMixture, NamesAreKnown) {
  for (const GgufRecipe& recipe : gguf_recipes()) EXPECT_EQ(find_gguf_recipe(recipe.method), &recipe);
  EXPECT_EQ(find_gguf_recipe("gguf-q2_k"), nullptr);
  EXPECT_EQ(find_gguf_recipe("awq"), nullptr);
}

TEST(GgufMixture, LayersThatGetMoreBits) {
  const model::ModelFiles files = model::ModelFiles::open(kBooks);
  const GgufMixture mixture(*find_gguf_recipe("gguf-q4_k_m"), files);
  const std::int64_t layers = files.config().num_hidden_layers;
  // Rows of down_proj are whole blocks of 256; the others have 384 weights, for which stand-ins are known.
  ASSERT_EQ(files.config().intermediate_size % 256, 0);
  ASSERT_EQ(files.config().hidden_size, 384);
  std::vector<std::int64_t> more;
  for (std::int64_t i = 0; i < layers; ++i) {
    if (mixture.linear(i, Role::kDown) == GgufType::kQ6K) more.push_back(i);
    const bool has_more = mixture.linear(i, Role::kDown) == GgufType::kQ6K;
    EXPECT_TRUE(has_more || mixture.linear(i, Role::kDown) == GgufType::kQ4K);
    EXPECT_EQ(mixture.linear(i, Role::kV), has_more ? GgufType::kQ8_0 : GgufType::kQ5_0);
    for (const Role role : {Role::kQ, Role::kK, Role::kO, Role::kGate, Role::kUp}) {
      EXPECT_EQ(mixture.linear(i, role), GgufType::kQ5_0);
    }
  }
  // layer < n / 8, layer >= 7 n / 8, or every third of those between.
  std::vector<std::int64_t> expected;
  for (std::int64_t i = 0; i < layers; ++i) {
    if (i < layers / 8 || i >= 7 * layers / 8 || (i - layers / 8) % 3 == 2) expected.push_back(i);
  }
  EXPECT_EQ(more, expected);
  EXPECT_EQ(mixture.head(), GgufType::kQ8_0);
  EXPECT_EQ(mixture.embedding(), mixture.head());  // tied
  // q, k, v, o of 384 x 384 or less, gate and up, down, embedding, norms: added up by hand for the file size.
  const std::uint64_t q8 = 384 / 32 * 34, q5 = 384 / 32 * 22;
  const auto kv = static_cast<std::uint64_t>(files.config().kv_width());
  std::uint64_t bytes = 8192 * q8 + 384 * 4;
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool has_more = std::find(more.begin(), more.end(), i) != more.end();
    bytes += 2 * 384 * q5 + kv * q5 + kv * (has_more ? q8 : q5) + 2 * 1024 * q5;
    bytes += 384 * 4 * (has_more ? 210 : 144) + 2 * 384 * 4;
  }
  EXPECT_EQ(mixture.tensor_bytes(), bytes);
}

TEST(GgufMixture, StandInsWhereRowsAreNoWholeBlocks) {
  // hidden 32: no blocks of 256, but of 32. mistral's 48 fits neither.
  const model::ModelFiles small = model::ModelFiles::open(kGolden / "llama");
  ASSERT_EQ(small.config().hidden_size, 32);
  const GgufMixture k(*find_gguf_recipe("gguf-q4_k_m"), small);
  EXPECT_EQ(k.linear(0, Role::kQ), GgufType::kQ5_0);
  EXPECT_EQ(k.head(), GgufType::kQ8_0);
  const model::ModelFiles odd = model::ModelFiles::open(kGolden / "mistral");
  ASSERT_EQ(odd.config().hidden_size, 48);
  EXPECT_EQ(GgufMixture(*find_gguf_recipe("gguf-q4_0"), odd).linear(0, Role::kQ), GgufType::kF16);
  EXPECT_EQ(GgufMixture(*find_gguf_recipe("gguf-q8_0"), odd).linear(0, Role::kDown), GgufType::kQ8_0);
}

TEST(GgufModel, WeightsAreThoseOfTheirTypes) {
  const model::ModelFiles files = model::ModelFiles::open(kGolden / "llama");
  const GgufModel model(files, *find_gguf_recipe("gguf-q4_0"));
  const model::LayerWeights original = files.load_layer(0);
  const model::LayerWeights rounded = model.load_layer(0);
  AlignedBuffer<float> expected = original[Role::kUp].to_floats();
  const AlignedBuffer<float> found = rounded[Role::kUp].to_floats();
  EXPECT_FALSE(std::equal(expected.begin(), expected.end(), found.begin(), found.end()));
  quant::gguf_round_trip(GgufType::kQ4_0, expected.span());
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), found.begin(), found.end()));
  EXPECT_TRUE(std::equal(original.input_norm.begin(), original.input_norm.end(), rounded.input_norm.begin()));

  // The embedding's rows are those of the tensor that the file would hold.
  const auto width = static_cast<std::size_t>(files.config().hidden_size);
  const std::vector<std::int32_t> ids = {3, 17, 3};
  std::vector<float> rows(ids.size() * width), plain(ids.size() * width);
  model.embed(ids, rows.data());
  files.embed(ids, plain.data());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    quant::gguf_round_trip(model.mixture().embedding(), {plain.data() + i * width, width});
  }
  EXPECT_EQ(rows, plain);
  const AlignedBuffer<float> embedding = model.load_embedding().to_floats();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const float* row = embedding.data() + static_cast<std::size_t>(ids[i]) * width;
    EXPECT_TRUE(std::equal(row, row + width, rows.begin() + static_cast<std::ptrdiff_t>(i * width)));
  }
}

}  // namespace
}  // namespace awq::quantize
