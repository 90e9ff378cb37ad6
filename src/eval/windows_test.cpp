#include "eval/windows.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "awq/error.h"
#include "support/checkpoints.h"

namespace awq::eval {
namespace {

std::unique_ptr<text::Tokenizer> tiny() { return text::Tokenizer::from_json(test::tiny_tokenizer_json(), "tiny"); }

// The tiny tokenizer has one id per letter: 0 is BOS, a is 1.

TEST(Windows, DocumentsGetBosAndAreCut) {
  const Windows windows = make_windows({{"abc", "abcdefgh", "x"}, true}, *tiny(), 4, 0, 96);
  ASSERT_EQ(windows.size(), 3U);
  EXPECT_EQ(windows[0], (std::vector<std::int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(windows[1], (std::vector<std::int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(windows[2], (std::vector<std::int32_t>{0, 24}));
  EXPECT_EQ(token_count(windows), 10);
}

TEST(Windows, RunningTextIsCutWithoutOverlapAndTheTailDropped) {
  const Windows windows = make_windows({{"abcdefghij"}, false}, *tiny(), 4, 0, 96);
  ASSERT_EQ(windows.size(), 2U);
  EXPECT_EQ(windows[0], (std::vector<std::int32_t>{1, 2, 3, 4}));
  EXPECT_EQ(windows[1], (std::vector<std::int32_t>{5, 6, 7, 8}));
  const Windows shorter = make_windows({{"abc"}, false}, *tiny(), 4, 0, 96);
  ASSERT_EQ(shorter.size(), 1U);
  EXPECT_EQ(shorter[0], (std::vector<std::int32_t>{1, 2, 3}));
}

TEST(Windows, MaxTokensStopsBeforeTheWindowThatWouldPassIt) {
  const text::Documents text{{std::string(40, 'a')}, false};
  EXPECT_EQ(make_windows(text, *tiny(), 4, 12, 96).size(), 3U);
  EXPECT_EQ(make_windows(text, *tiny(), 4, 11, 96).size(), 2U);
  EXPECT_EQ(make_windows(text, *tiny(), 4, 1, 96).size(), 1U) << "the first window is always scored";
}

TEST(Windows, RefusesWhatCannotBeScored) {
  for (const text::Documents& documents : {text::Documents{{"a"}, false}, text::Documents{{""}, true}}) {
    try {
      make_windows(documents, *tiny(), 4, 0, 96);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kCorruptFile);
    }
  }
  try {
    make_windows({{"abz"}, false}, *tiny(), 4, 0, 26);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("id 26"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace awq::eval
