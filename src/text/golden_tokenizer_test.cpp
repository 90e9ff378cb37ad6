// Ids that the reference libraries gave for real tokenizers. The files are no part of the repository: without them
// these tests are skipped.

#include <gtest/gtest.h>

#include <ctime>
#include <filesystem>
#include <sstream>

#include "file/input_file.h"
#include "support/paths.h"
#include "text/tokenizer_test_support.h"

namespace awq::text {
namespace {

using test::Ids;
using test::Json;

const std::filesystem::path kData = AWQ_SHARED_DATA;

std::string read(const std::filesystem::path& path) { return file::read_text_file(path, 64 << 20); }

std::unique_ptr<Tokenizer> open(const std::filesystem::path& path) {
  return path.extension() == ".model" ? Tokenizer::from_sentencepiece(read(path), path.string())
                                      : Tokenizer::from_json(read(path), path.string());
}

#define SKIP_WITHOUT(path) \
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no test data at " << (path)

void check_lines(const Tokenizer& tokenizer, const std::filesystem::path& path) {
  std::istringstream lines(read(path));
  for (std::string line; std::getline(lines, line);) {
    const Json item = Json::parse(line);
    const Ids ids = item.at("ids").get<Ids>();
    EXPECT_EQ(tokenizer.encode(item.at("text").get<std::string>()), ids) << path << ": " << item.at("text");
    EXPECT_EQ(test::stream(tokenizer, ids), tokenizer.decode(ids));
  }
}

class GoldenTokenizer : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTokenizer, GivesTheIdsOfTheReference) {
  const std::filesystem::path path = kData / "tokenizers" / GetParam();
  SKIP_WITHOUT(path);
  const auto tokenizer = open(path);
  for (const char* name : {"golden.jsonl", "upstream-vectors.jsonl"}) {
    if (std::filesystem::exists(path.parent_path() / name)) check_lines(*tokenizer, path.parent_path() / name);
  }
  std::mt19937_64 random(8);
  for (int round = 0; round < 500; ++round) {
    Ids ids(random() % 20);
    const auto limit = static_cast<std::uint64_t>(round % 2 == 0 ? tokenizer->vocab_size() + 10 : 300);
    for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % limit);
    ASSERT_EQ(test::stream(*tokenizer, ids), tokenizer->decode(ids));
  }
}

INSTANTIATE_TEST_SUITE_P(Files, GoldenTokenizer,
                         testing::Values("llama-2/tokenizer.json", "llama-2/tokenizer.model", "llama-3/tokenizer.json",
                                         "qwen2.5/tokenizer.json", "qwen3/tokenizer.json", "mistral-v1/tokenizer.model",
                                         "mistral-v3/tokenizer.json", "mistral-v3/tokenizer.model",
                                         "phi-2/tokenizer.json", "phi-3-mini/tokenizer.json", "gpt2/tokenizer.json",
                                         "gpt-neox/tokenizer.json", "falcon/tokenizer.json"));

TEST(GoldenEncodings, MistralWithAndWithoutSpecialTokens) {
  const std::filesystem::path folder = kData / "tokenizers" / "mistral-v3";
  SKIP_WITHOUT(folder);
  const auto tokenizer = Tokenizer::load(folder);
  const Json golden = Json::parse(read(folder / "upstream-encodings.json"));
  EXPECT_EQ(tokenizer->prefix_ids(), (Ids{golden.at("bos_id").get<std::int32_t>()}));
  for (const Json& entry : golden.at("entries")) {
    const std::string text = entry.at("text");
    EXPECT_EQ(tokenizer->encode(text), entry.at("ids").get<Ids>()) << text;
    EXPECT_EQ(tokenizer->encode(text, {.add_special_tokens = true}), entry.at("ids_special").get<Ids>()) << text;
    EXPECT_EQ(tokenizer->decode(entry.at("ids").get<Ids>(), false), entry.at("decode").get<std::string>()) << text;
  }
}

class GoldenModel : public testing::TestWithParam<const char*> {};

TEST_P(GoldenModel, PromptsOfTheModel) {
  const std::filesystem::path folder = kData / "models" / GetParam();
  SKIP_WITHOUT(folder);
  const Json golden = Json::parse(read(folder / "golden.json"));
  std::vector<std::unique_ptr<Tokenizer>> tokenizers;
  tokenizers.push_back(Tokenizer::load(folder));
  if (std::filesystem::exists(folder / "tokenizer.model")) tokenizers.push_back(open(folder / "tokenizer.model"));
  for (const auto& tokenizer : tokenizers) {
    for (const Json& prompt : golden.at("prompts")) {
      EXPECT_EQ(tokenizer->encode(prompt.at("text").get<std::string>(), {.add_special_tokens = true}),
                prompt.at("ids").get<Ids>())
          << prompt.at("text");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Folders, GoldenModel,
                         testing::Values("books-12m", "stories-260k", "stories-3m", "tinystories-656k",
                                         "tinystories-656k-bf16-sharded"));

/// Processor time of the fastest of a few runs: other programs on the machine count little.
double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  double best = 1e9;
  for (int run = 0; run < 3; ++run) {
    const std::clock_t start = std::clock();
    tokenizer.encode(text);
    best = std::min(best, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  return best;
}

TEST(TokenizerSpeed, GrowsWithTheTextAndNoFaster) {
  for (const char* name : {"llama-3", "qwen2.5", "llama-2"}) {
    const std::filesystem::path path = kData / "tokenizers" / name / "tokenizer.json";
    SKIP_WITHOUT(path);
    const auto tokenizer = open(path);
    for (const std::string unit : {"a", " ", "7", "\u4f60", "ab", "\n", "\u0316\u0301"}) {
      std::string text;
      while (text.size() < 200000) text += unit;
      const double half = seconds_to_encode(*tokenizer, text);
      // 2 and a bit is the truth; the rest is for busy machines. Quadratic work would show 4.
      EXPECT_LT(seconds_to_encode(*tokenizer, text + text), 3.2 * half + 0.002) << name << " " << unit;
    }
  }
}

}  // namespace
}  // namespace awq::text
