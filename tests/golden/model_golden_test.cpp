// The committed tiny models: every family and every variant of its configuration against transformers in float64.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "generate/generation.h"
#include "model/language_model.h"
#include "model/model_files.h"
#include "support/base64.h"
#include "support/checkpoints.h"
#include "support/logits.h"
#include "support/temp_folder.h"
#include "text/tokenizer.h"
#include "tolerances.h"

namespace awq {
namespace {

using file::Json;
using Ids = std::vector<std::int32_t>;

void expect_logits(model::LanguageModel& model, const Json& variant) {
  const Ids ids = variant.at("ids");
  const auto shape = variant.at("logits_shape").get<std::vector<std::size_t>>();
  const std::vector<float> expected = test::decode_floats(variant.at("logits").get<std::string>());
  ASSERT_EQ(expected.size(), shape.at(0) * shape.at(1));
  std::vector<std::size_t> positions;
  if (variant.contains("positions")) {
    positions = variant.at("positions").get<std::vector<std::size_t>>();
  } else {
    for (std::size_t i = 0; i < ids.size(); ++i) positions.push_back(i);
  }
  ASSERT_EQ(positions.size(), shape[0]);
  const std::vector<float> got = test::all_logits(model, ids);
  for (std::size_t row = 0; row < positions.size(); ++row) {
    test::expect_close(std::span(got).subspan(positions[row] * shape[1], shape[1]),
                       std::span(expected).subspan(row * shape[1], shape[1]), tolerance::kGoldenLogits,
                       "position " + std::to_string(positions[row]));
  }
}

void expect_greedy(model::LanguageModel& model, const text::Tokenizer& tokenizer, const Json& variant) {
  const Ids ids = variant.at("ids");
  const Ids expected = variant.at("greedy_ids");
  // Near ties could go either way; the models were made without any.
  ASSERT_GT(variant.at("greedy_min_margin").get<double>(), 4 * tolerance::kGoldenLogits);
  generate::GenerationOptions options;
  options.sampling.max_tokens = static_cast<std::int64_t>(expected.size());
  EXPECT_EQ(generate::generate(model, tokenizer, ids, options, {}).token_ids, expected);
}

class GoldenModel : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(GoldenModel, EveryVariant) {
  const Json golden = file::read_json_file(GetParam() / "golden.json");
  const auto tokenizer = text::Tokenizer::from_json(test::tiny_tokenizer_json(), "tokenizer.json");
  for (const Json& variant : golden.at("variants")) {
    SCOPED_TRACE(variant.at("name").get<std::string>());
    const test::TempFolder folder;
    test::derive_model(GetParam(), folder / "model", variant.at("config_overrides"));
    model::LanguageModel model(model::ModelFiles::open(folder / "model"));
    expect_logits(model, variant);
    expect_greedy(model, *tokenizer, variant);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, GoldenModel, testing::ValuesIn(test::golden_models()),
                         [](const auto& model) { return model.param.filename().string(); });

}  // namespace
}  // namespace awq
