// The real models of the shared test data against float64: logits, greedy tokens, perplexities.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "eval/compare.h"
#include "eval/windows.h"
#include "generate/generation.h"
#include "model/language_model.h"
#include "support/logits.h"
#include "support/paths.h"
#include "support/shared_data.h"
#include "text/documents.h"
#include "text/tokenizer.h"
#include "tolerances.h"

namespace awq {
namespace {

namespace fs = std::filesystem;
using file::Json;
using Ids = std::vector<std::int32_t>;

/// Model folders below `group` that come with golden values.
std::vector<fs::path> folders_with_golden(const fs::path& group) {
  std::set<fs::path> out;
  for (const auto& entry : fs::directory_iterator(group)) {
    if (fs::exists(entry.path() / "golden.json")) out.insert(entry.path());
  }
  return {out.begin(), out.end()};
}

struct Loaded {
  explicit Loaded(const fs::path& folder)
      : golden(file::read_json_file(folder / "golden.json")),
        files(model::ModelFiles::open(folder)),
        tokenizer(text::Tokenizer::load(folder)) {}
  Json golden;
  model::ModelFiles files;
  std::unique_ptr<text::Tokenizer> tokenizer;
};

void expect_prompt(model::LanguageModel& model, const Loaded& loaded, const Json& prompt) {
  const Ids ids = prompt.at("ids");
  if (prompt.contains("text")) {
    EXPECT_EQ(loaded.tokenizer->encode(prompt.at("text").get<std::string>(), {.add_special_tokens = true}), ids);
  }
  const std::vector<float> all = test::all_logits(model, ids);
  const auto vocab = static_cast<std::size_t>(model.config().vocab_size);
  const std::span<const float> last = std::span(all).last(vocab);
  for (const Json& top : prompt.at("top8_next")) {
    EXPECT_NEAR(last[top.at(0).get<std::size_t>()], top.at(1).get<double>(), tolerance::kRealLogits);
  }
  double sum = 0;
  for (const float logit : last) sum += std::exp(static_cast<double>(logit));
  EXPECT_NEAR(std::log(sum), prompt.at("logsumexp").get<double>(), tolerance::kRealLogits);
  const Ids greedy = prompt.at("greedy_ids");
  generate::GenerationOptions options;
  options.sampling.max_tokens = static_cast<std::int64_t>(greedy.size());
  options.ignore_eos = true;
  EXPECT_EQ(generate::generate(model, *loaded.tokenizer, ids, options, {}).token_ids, greedy);
}

void expect_prompts(const fs::path& folder) {
  SCOPED_TRACE(folder.filename().string());
  const Loaded loaded(folder);
  model::LanguageModel model(loaded.files);
  for (const Json& prompt : loaded.golden.at("prompts")) expect_prompt(model, loaded, prompt);
  const std::vector<float> expected = loaded.golden.at("last_logits_prompt0");
  const std::vector<float> got = test::all_logits(model, loaded.golden.at("prompts").at(0).at("ids").get<Ids>());
  test::expect_close(std::span(got).last(expected.size()), expected, tolerance::kRealLogits, "prompt 0");
}

/// The first stories of a .jsonl file.
text::Documents stories(const Json& protocol) {
  text::Documents documents = text::read_documents(fs::path(AWQ_SHARED_DATA) / protocol.at("file").get<std::string>());
  documents.texts.resize(protocol.at("stories").get<std::size_t>());
  return documents;
}

void expect_scores(const Loaded& loaded, const eval::Windows& windows, const Json& protocol, double bound) {
  const eval::Scores scores = eval::compare(loaded.files, nullptr, windows, {});
  EXPECT_EQ(scores.tokens, protocol.at("tokens").get<std::int64_t>());
  EXPECT_NEAR(scores.nll, protocol.at("mean_nll").get<double>(), bound);
  // The perplexity is printed with five decimals and magnifies an error of the mean by itself.
  const double ppl = protocol.at("ppl").get<double>();
  EXPECT_NEAR(std::exp(scores.nll), ppl, 2 * bound * ppl);
}

void expect_perplexities(const fs::path& folder) {
  SCOPED_TRACE(folder.filename().string());
  const Loaded loaded(folder);
  const model::ModelConfig& config = loaded.files.config();
  if (loaded.golden.contains("perplexity_per_story")) {
    const Json& protocol = loaded.golden.at("perplexity_per_story");
    const eval::Windows windows =
        eval::make_windows(stories(protocol), *loaded.tokenizer, config.max_position_embeddings, 0, config.vocab_size);
    expect_scores(loaded, windows, protocol, tolerance::kMeanNll);
  }
  if (loaded.golden.contains("perplexity_chunked")) {
    const Json& protocol = loaded.golden.at("perplexity_chunked");
    Ids all;
    for (const std::string& story : stories(protocol).texts) {
      const Ids ids = loaded.tokenizer->encode(story, {.add_special_tokens = true});
      all.insert(all.end(), ids.begin(), ids.end());
    }
    const auto length = static_cast<std::size_t>(config.max_position_embeddings);
    eval::Windows windows;
    for (std::size_t at = 0; at + 1 < all.size(); at += length) {
      const auto begin = all.begin() + static_cast<std::ptrdiff_t>(at);
      windows.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(std::min(length, all.size() - at)));
    }
    expect_scores(loaded, windows, protocol, tolerance::kMeanNll);
  }
  if (loaded.golden.contains("perplexity_windows")) {
    const Json& protocol = loaded.golden.at("perplexity_windows");
    const text::Documents documents =
        text::read_documents(fs::path(AWQ_SHARED_DATA) / protocol.at("file").get<std::string>());
    const eval::Windows windows = eval::make_windows(documents, *loaded.tokenizer, 256, 10240, config.vocab_size);
    expect_scores(loaded, windows, protocol, tolerance::kMeanNllFloat32);
  }
}

TEST(SharedGolden, ModelsGiveTheSameLogitsAndTokens) {
  AWQ_REQUIRE_SHARED(group, "models");
  for (const fs::path& folder : folders_with_golden(group)) expect_prompts(folder);
}

TEST(SharedGolden, QuantizedModelsGiveTheSameLogitsAndTokens) {
  AWQ_REQUIRE_SHARED(group, "quantized");
  for (const fs::path& folder : folders_with_golden(group)) expect_prompts(folder);
}

TEST(SharedGolden, ModelsHaveTheSamePerplexity) {
  AWQ_REQUIRE_SHARED(group, "models");
  for (const fs::path& folder : folders_with_golden(group)) expect_perplexities(folder);
}

TEST(SharedGolden, QuantizedModelsHaveTheSamePerplexity) {
  AWQ_REQUIRE_SHARED(group, "quantized");
  for (const fs::path& folder : folders_with_golden(group)) expect_perplexities(folder);
}

}  // namespace
}  // namespace awq
