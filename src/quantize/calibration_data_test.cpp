#include "quantize/calibration_data.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "awq/error.h"
#include "support/checkpoints.h"

namespace awq::quantize {
namespace {

std::unique_ptr<text::Tokenizer> tiny() { return text::Tokenizer::from_json(test::tiny_tokenizer_json(), "tiny"); }

/// `count` documents; document i is the letter number i (modulo 26), repeated.
text::Documents letters(std::size_t count, std::size_t length) {
  text::Documents out{.is_list = true};
  for (std::size_t i = 0; i < count; ++i) {
    out.texts.emplace_back(length, static_cast<char>('a' + static_cast<char>(i % 26)));
  }
  return out;
}

TEST(CalibrationBlocks, ConcatenatesDocumentsWithBosAndDropsTheTail) {
  // 20 documents of 1 + 8 tokens: 180 tokens are 18 blocks of 10.
  const CalibrationBlocks blocks = make_blocks(letters(20, 8), *tiny(), 100, 10, 0, 96);
  EXPECT_EQ(blocks.count, 18);
  EXPECT_EQ(blocks.length, 10);
  ASSERT_EQ(blocks.ids.size(), 180U);
  for (std::size_t i = 0; i < blocks.ids.size(); ++i) {
    EXPECT_EQ(blocks.ids[i], i % 9 == 0 ? 0 : static_cast<std::int32_t>(i / 9 + 1)) << i;
  }
  EXPECT_EQ(make_blocks(letters(20, 8), *tiny(), 100, 11, 0, 96).count, 16);
}

TEST(CalibrationBlocks, SelectionDependsOnTheSeedAlone) {
  const auto make = [](std::uint64_t seed) { return make_blocks(letters(26, 499), *tiny(), 20, 50, seed, 96); };
  const CalibrationBlocks a = make(1);
  const CalibrationBlocks b = make(1);
  const CalibrationBlocks c = make(2);
  EXPECT_EQ(a.count, 20);
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.digest, b.digest);
  EXPECT_NE(a.digest, c.digest);
  // In the order of the text, and every block once: block numbers rise, and letters with them.
  std::int32_t last = 0;
  for (std::int64_t block = 0; block < a.count; ++block) {
    const std::int32_t letter = a.ids[static_cast<std::size_t>(block * 50 + 25)];
    EXPECT_GE(letter, last);
    last = letter;
  }
}

TEST(CalibrationBlocks, RefusesTooLittleTextAndForeignIds) {
  const auto code_of = [](const text::Documents& documents, std::int64_t vocab) {
    try {
      make_blocks(documents, *tiny(), 100, 10, 0, vocab);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kInternal;
  };
  EXPECT_EQ(code_of(letters(15, 9), 96), ErrorCode::kCorruptFile);
  EXPECT_EQ(code_of(letters(26, 9), 20), ErrorCode::kCorruptFile);
}

TEST(HeldOut, EveryTenthDocument) {
  const CalibrationSplit split = split_held_out(letters(25, 3));
  EXPECT_EQ(split.held_out.texts, (std::vector<std::string>{"jjj", "ttt"}));
  EXPECT_EQ(split.calibration.texts.size(), 23U);
  EXPECT_TRUE(split.calibration.is_list && split.held_out.is_list);
  // Of a short list the last document.
  EXPECT_EQ(split_held_out(letters(2, 3)).held_out.texts, (std::vector<std::string>{"bbb"}));
  EXPECT_EQ(split_held_out(letters(9, 3)).held_out.texts, (std::vector<std::string>{"iii"}));
  EXPECT_TRUE(split_held_out(letters(1, 3)).held_out.texts.empty());
}

TEST(HeldOut, LastTenthOfARunningText) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "line " + std::to_string(i) + "\n";
  const CalibrationSplit split = split_held_out({{text}, false});
  ASSERT_EQ(split.held_out.texts.size(), 1U);
  EXPECT_EQ(split.calibration.texts[0] + split.held_out.texts[0], text);
  EXPECT_EQ(split.calibration.texts[0].back(), '\n');
  EXPECT_LE(split.held_out.texts[0].size(), text.size() / 10);
  EXPECT_GT(split.held_out.texts[0].size(), text.size() / 20);
  EXPECT_FALSE(split.held_out.is_list);
  // No line end where it could be cut: nothing is held out, nothing is lost.
  const CalibrationSplit whole = split_held_out({{std::string(500, 'x')}, false});
  EXPECT_TRUE(whole.held_out.texts.empty());
  EXPECT_EQ(whole.calibration.texts.at(0).size(), 500U);
}

TEST(DefaultCalibration, IsAListOfManyDocuments) {
  const text::Documents documents = text::split_documents(default_calibration_text(), "default");
  EXPECT_TRUE(documents.is_list);
  EXPECT_GE(documents.texts.size(), 10U);
  const CalibrationSplit split = split_held_out(documents);
  EXPECT_FALSE(split.held_out.texts.empty());
  std::set<std::string> seen(documents.texts.begin(), documents.texts.end());
  EXPECT_EQ(seen.size(), documents.texts.size()) << "a document is there twice";
}

}  // namespace
}  // namespace awq::quantize
