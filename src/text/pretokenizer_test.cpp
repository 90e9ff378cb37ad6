#include "text/pretokenizer.h"

#include <gtest/gtest.h>

#include <chrono>

#include "text/known_patterns.h"
#include "text/split_regex.h"
#include "text/tokenizer_test_support.h"
#include "text/unicode.h"

namespace awq::text {
namespace {

using test::Json;
using Words = std::vector<std::string>;

Words split(const Json& json, const std::string& text, bool is_first = true) {
  const auto stage = read_pretokenizer(JsonField(json, "test"), nullptr);
  Pieces pieces(text, is_first);
  stage->apply(pieces);
  Words out;
  for (const Span& span : pieces.spans()) out.emplace_back(pieces.text(span));
  return out;
}

Json regex_split(const std::string& pattern, const std::string& behavior, bool invert = false) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", behavior}, {"invert", invert}};
}

TEST(Split, Behaviors) {
  const std::string text = "ab--c-";
  EXPECT_EQ(split(regex_split("-", "Removed"), text), (Words{"ab", "c"}));
  EXPECT_EQ(split(regex_split("-", "Isolated"), text), (Words{"ab", "-", "-", "c", "-"}));
  EXPECT_EQ(split(regex_split("-", "Contiguous"), text), (Words{"ab", "--", "c", "-"}));
  EXPECT_EQ(split(regex_split("-", "MergedWithPrevious"), text), (Words{"ab-", "-", "c-"}));
  EXPECT_EQ(split(regex_split("-", "MergedWithNext"), text), (Words{"ab", "-", "-c", "-"}));
  EXPECT_EQ(split(regex_split("[a-z]", "Removed", true), text), (Words{"a", "b", "c"}));
}

TEST(Split, EmptyMatchesOnlyCut) {
  EXPECT_EQ(split(regex_split("(?=b)|c", "Isolated"), "abcb"), (Words{"a", "b", "c", "b"}));
}

TEST(PreTokenizers, OneByOne) {
  EXPECT_EQ(split({{"type", "Digits"}, {"individual_digits", true}}, "a12\u00bd"), (Words{"a", "1", "2", "\u00bd"}));
  EXPECT_EQ(split({{"type", "Digits"}}, "a12\u00bdb"), (Words{"a", "12\u00bd", "b"}));
  EXPECT_EQ(split({{"type", "Punctuation"}}, "a!?b"), (Words{"a", "!", "?", "b"}));
  EXPECT_EQ(split({{"type", "Punctuation"}, {"behavior", "Contiguous"}}, "a!?b"), (Words{"a", "!?", "b"}));
  EXPECT_EQ(split({{"type", "Whitespace"}}, "ab, c\u00a0--"), (Words{"ab", ",", "c", "--"}));
  EXPECT_EQ(split({{"type", "WhitespaceSplit"}}, "ab,  c"), (Words{"ab,", "c"}));
  EXPECT_EQ(split({{"type", "CharDelimiterSplit"}, {"delimiter", "-"}}, "a-b--"), (Words{"a", "b"}));
  EXPECT_EQ(split({{"type", "FixedLength"}, {"length", 2}}, "\u4f60bcde"), (Words{"\u4f60b", "cd", "e"}));
  EXPECT_EQ(split({{"type", "ByteLevel"}, {"add_prefix_space", true}}, "hi  you"),
            (Words{"\u0120hi", "\u0120", "\u0120you"}));
}

TEST(PreTokenizers, Metaspace) {
  const auto metaspace = [](const char* scheme, bool cut) {
    return Json{{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", scheme}, {"split", cut}};
  };
  EXPECT_EQ(split(metaspace("always", true), "a  b", false), (Words{"\u2581a", "\u2581", "\u2581b"}));
  EXPECT_EQ(split(metaspace("first", false), "a b", true), (Words{"\u2581a\u2581b"}));
  EXPECT_EQ(split(metaspace("first", false), "a b", false), (Words{"a\u2581b"}));
  EXPECT_EQ(split(metaspace("first", false), " a"), (Words{"\u2581a"}));
  EXPECT_EQ(split(metaspace("never", false), "a"), (Words{"a"}));
  EXPECT_EQ(split({{"type", "Metaspace"}, {"add_prefix_space", false}}, "a b"), (Words{"a", "\u2581b"}));
  Json wrong = metaspace("always", true);
  wrong["add_prefix_space"] = false;
  test::expect_error([&] { split(wrong, "a"); }, ErrorCode::kCorruptFile, {"test", "add_prefix_space"});
}

Words split_known(KnownPattern pattern, const std::string& text) {
  std::vector<Span> spans;
  split_by_known_pattern(pattern, text, {0, text.size()}, spans);
  Words out;
  for (const Span& span : spans) out.push_back(text.substr(span.begin, span.end - span.begin));
  return out;
}

Words split_pcre(const SplitRegex& regex, const std::string& text) {
  Words out;
  regex.for_each(text, [&](std::size_t begin, std::size_t end) { out.push_back(text.substr(begin, end - begin)); });
  return out;
}

class KnownPatterns : public testing::TestWithParam<std::string_view> {};

TEST_P(KnownPatterns, EqualTheRegex) {
  const std::string pattern(GetParam());
  const SplitRegex regex(pattern, "test");
  const std::optional<KnownPattern> known = find_known_pattern(pattern);
  ASSERT_TRUE(known);
  // The two libraries may know different versions of Unicode: characters that they class differently are left out.
  const SplitRegex letter("\\p{L}", "test");
  const SplitRegex number("\\p{N}", "test");
  const auto agree = [&](const std::string& text) {
    for (std::size_t at = 0; at < text.size();) {
      const Scalar scalar = scalar_at(text, at);
      const std::string one = text.substr(at, scalar.bytes);
      if (split_pcre(letter, one).empty() == is_letter(scalar.value)) return false;
      if (split_pcre(number, one).empty() == is_number(scalar.value)) return false;
      at += scalar.bytes;
    }
    return true;
  };
  std::mt19937_64 random(4);
  int compared = 0;
  for (int round = 0; round < 30000; ++round) {
    const std::string text = test::random_text(random, 10);
    if (!agree(text)) continue;
    ++compared;
    ASSERT_EQ(split_known(*known, text), split_pcre(regex, text)) << Json(text);
  }
  EXPECT_GT(compared, 25000);
  for (const char* text :
       {"", "'", "''s", "'\u017f", "'LL'Ve", " \r\n \n  x", "   ", "a   b", "\n\n\n", " 1234567 ", "!\r\n"}) {
    EXPECT_EQ(split_known(*known, text), split_pcre(regex, text)) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(All, KnownPatterns, testing::Values(kGpt2Pattern, kLlama3Pattern, kQwen2Pattern));

TEST(SplitRegexTest, TranslatesWhatDiffers) {
  const auto translated = [](const std::string& pattern) { return translate_pattern(pattern, "test"); };
  EXPECT_EQ(translated(R"(\s+(?!\S))"), R"(\p{White_Space}+(?!\P{White_Space}))");
  EXPECT_EQ(translated(R"([^\s\p{L}]\p{Han})"), R"([^\p{White_Space}\p{L}]\p{sc:Han})");
  EXPECT_EQ(translated(R"(\u4e00)"), R"(\x{4e00})");
  // U+180E is white space for PCRE2's own \s, not for Oniguruma's.
  EXPECT_TRUE(split_pcre(SplitRegex("\\s", "test"), "\u180e").empty());
  EXPECT_EQ(split_pcre(SplitRegex("\\w+", "test"), "e\u0301_1-").size(), 1U);
}

TEST(SplitRegexTest, RefusesWhatItCannotTranslate) {
  for (const char* pattern : {"[a[b]]", "[a&&b]", "(?<n>a)", "(?R)", "\\b", "\\x80", "a{,3}", "a{2}+", "(", "a**", "\\",
                              "[", "[]a]", "(*COMMIT)", "\\1", "\\p{NoSuchProperty}", "(?m)a", "\\p", ""}) {
    test::expect_error([&] { SplitRegex(pattern, "tokenizer.json: pre_tokenizer"); }, ErrorCode::kUnsupported,
                       {"tokenizer.json: pre_tokenizer"});
  }
}

TEST(SplitRegexTest, EndlessBacktrackingIsAnError) {
  const SplitRegex regex("(a+)+b", "file: field");
  const auto start = std::chrono::steady_clock::now();
  test::expect_error([&] { split_pcre(regex, std::string(2000, 'a') + "cb"); }, ErrorCode::kUnsupported,
                     {"file: field"});
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(PreTokenizers, UnknownOnesAreNamed) {
  test::expect_error([] { split({{"type", "UnicodeScripts"}}, "a"); }, ErrorCode::kUnsupported, {"UnicodeScripts"});
  test::expect_error(
      [] {
        split({{"type", "Split"}, {"pattern", {{"String", ""}}}, {"behavior", "Isolated"}}, "a");
      },
      ErrorCode::kCorruptFile, {"pattern.String"});
  test::expect_error([] { split(regex_split("a", "Sideways"), "a"); }, ErrorCode::kCorruptFile, {"Sideways"});
}

}  // namespace
}  // namespace awq::text
