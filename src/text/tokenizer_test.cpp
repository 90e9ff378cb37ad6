#include "text/tokenizer.h"

#include <gtest/gtest.h>

#include <thread>

#include "text/tokenizer_test_support.h"

namespace awq::text {
namespace {

using test::added_token;
using test::Ids;
using test::Json;
using test::make;

TEST(ByteLevelTokenizer, EncodesAndDecodes) {
  const auto tokenizer = make(test::byte_level_json({{"a", "b"}, {"ab", "c"}, {" ", "a"}}));
  EXPECT_EQ(tokenizer->encode("abc ab a!"), (Ids{257, ' ', 256, 258, '!'}));
  EXPECT_EQ(tokenizer->decode(Ids{257, ' ', 256, 258, '!'}), "abc ab a!");
  EXPECT_EQ(tokenizer->vocab_size(), 259);
  EXPECT_EQ(tokenizer->token(258), "\u0120a");
  EXPECT_EQ(tokenizer->token_id("\u0120a"), 258);
  EXPECT_EQ(tokenizer->token(9999), "");
  EXPECT_TRUE(tokenizer->encode("").empty());
}

TEST(ByteLevelTokenizer, InvalidBytesBecomeReplacementCharacters) {
  const auto tokenizer = make(test::byte_level_json({}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("a\xFF\xE4\xBDz")), "a\uFFFD\uFFFDz");
  EXPECT_EQ(tokenizer->decode(Ids{'a', 0xE4, 0xBD}), "a\uFFFD");
  EXPECT_EQ(tokenizer->decode(Ids{-1, 'a', 1 << 30}), "a");
}

TEST(ByteLevelTokenizer, RoundTripsRandomText) {
  const auto tokenizer =
      make(test::byte_level_json({{"a", "a"}, {"l", "l"}, {"\xE4", "\xBD"}, {" ", " "}, {"aa", "aa"}}));
  std::mt19937_64 random(5);
  for (int round = 0; round < 5000; ++round) {
    const std::string text = test::random_text(random, 30);
    const Ids ids = tokenizer->encode(text);
    ASSERT_EQ(tokenizer->decode(ids), text);
    ASSERT_EQ(test::stream(*tokenizer, ids), text);
  }
}

TEST(ByteLevelTokenizer, IgnoreMergesTakesWholeWords) {
  Json json = test::byte_level_json({{"b", "c"}, {"a", "b"}, {"ab", "c"}});
  EXPECT_EQ(make(json)->encode("abc"), (Ids{'a', 256}));
  json["model"]["ignore_merges"] = true;
  EXPECT_EQ(make(json)->encode("abc"), (Ids{258}));
}

TEST(ByteFallbackTokenizer, EncodesAndDecodes) {
  const auto tokenizer = make(test::byte_fallback_json({"\u2581", "a", "b"}, {{"\u2581", "a"}, {"\u2581a", "b"}}));
  EXPECT_EQ(tokenizer->encode("ab"), (Ids{263}));
  EXPECT_EQ(tokenizer->encode("ab b"), (Ids{263, 259, 261}));
  EXPECT_EQ(tokenizer->encode("\u00e9"), (Ids{259, 0xC3 + 3, 0xA9 + 3}));
  EXPECT_EQ(tokenizer->encode("a", {.add_special_tokens = true}), (Ids{1, 262}));
  EXPECT_EQ(tokenizer->prefix_ids(), (Ids{1}));
  EXPECT_EQ(tokenizer->decode(Ids{1, 263, 259, 261, 2}), "ab b");
  EXPECT_EQ(tokenizer->decode(Ids{1, 263, 2}, false), "<s> ab</s>");
  // A run of bytes is text as a whole or not at all.
  EXPECT_EQ(tokenizer->decode(Ids{260, 0xC3 + 3, 0xA9 + 3, 0xC3 + 3, 260}), "a\uFFFD\uFFFD\uFFFDa");
}

TEST(ByteFallbackTokenizer, EveryRunGetsItsOwnPrefix) {
  const auto tokenizer = make(test::byte_fallback_json({"\u2581", "a"}, {}));
  EXPECT_EQ(tokenizer->encode("a<s>a"), (Ids{259, 260, 1, 259, 260}));
}

TEST(AddedTokens, SpecialOnesCanBeReadAsText) {
  const auto tokenizer = make(test::byte_fallback_json({"\u2581", "<", "s", ">"}, {}));
  EXPECT_EQ(tokenizer->encode("<s>"), (Ids{1}));
  EXPECT_EQ(tokenizer->encode("<s>", {.parse_special = false}), (Ids{259, 260, 261, 262}));
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(259));
  EXPECT_FALSE(tokenizer->is_special(-1));
  EXPECT_FALSE(tokenizer->is_special(1 << 30));
}

TEST(AddedTokens, Flags) {
  Json json = test::byte_level_json({});
  json["added_tokens"] = {added_token(300, "[w]", {{"single_word", true}}), added_token(301, "[l]", {{"lstrip", true}}),
                          added_token(302, "[r]", {{"rstrip", true}}), added_token(303, "[r][r]"),
                          added_token(304, "  ", {{"special", false}, {"normalized", true}})};
  const auto tokenizer = make(json);
  EXPECT_EQ(tokenizer->encode("[w].[w]"), (Ids{300, '.', 300}));
  EXPECT_EQ(tokenizer->encode("a[w]"), (Ids{'a', '[', 'w', ']'}));
  EXPECT_EQ(tokenizer->encode("a \n[l] b"), (Ids{'a', 301, ' ', 'b'}));
  EXPECT_EQ(tokenizer->encode("a [r] \u3000b"), (Ids{'a', ' ', 302, 'b'}));
  EXPECT_EQ(tokenizer->encode("[r][r][r]"), (Ids{303, 302}));  // leftmost, then longest
  EXPECT_EQ(tokenizer->encode("a   b", {.parse_special = false}), (Ids{'a', 304, ' ', 'b'}));
  EXPECT_EQ(tokenizer->vocab_size(), 305);
  EXPECT_EQ(tokenizer->decode(Ids{300, 304, 'a'}), "  a");
  EXPECT_EQ(tokenizer->decode(Ids{300, 304, 'a'}, false), "[w]  a");
}

TEST(AddedTokens, NormalizedOnesMatchBehindTheNormalizer) {
  Json json = test::byte_level_json({});
  json["normalizer"] = {{"type", "Lowercase"}};
  json["added_tokens"] = {added_token(300, "YES", {{"normalized", true}}), added_token(301, "NO")};
  const auto tokenizer = make(json);
  EXPECT_EQ(tokenizer->encode("Yes"), (Ids{300}));
  EXPECT_EQ(tokenizer->encode("NO"), (Ids{301}));
  EXPECT_EQ(tokenizer->encode("no"), (Ids{'n', 'o'}));
}

TEST(AddedTokens, TakeTheIdOfTheVocabulary) {
  Json json = test::byte_level_json({{"a", "b"}});
  json["added_tokens"] = Json::array({added_token(999, "ab", {{"special", false}})});
  EXPECT_EQ(make(json)->encode("xab"), (Ids{'x', 256}));
}

TEST(Normalizers, OneByOne) {
  const auto through = [](const Json& normalizer, std::string_view text) {
    Json json = test::byte_level_json({});
    json["normalizer"] = normalizer;
    const auto tokenizer = make(json);
    return tokenizer->decode(tokenizer->encode(text));
  };
  EXPECT_EQ(through({{"type", "NFC"}}, "e\u0301\u1100\u1161"), "\u00e9\uac00");
  EXPECT_EQ(through({{"type", "NFKD"}}, "\ufb01\u00e9"), "fie\u0301");
  EXPECT_EQ(through({{"type", "Lowercase"}}, "A\u0130\u03a3"), "ai\u0307\u03c3");
  EXPECT_EQ(through({{"type", "StripAccents"}}, "e\u0301a"), "ea");
  EXPECT_EQ(through({{"type", "Strip"}}, " \u3000a \n"), "a");
  EXPECT_EQ(through({{"type", "Strip"}, {"strip_left", false}, {"strip_right", true}}, " a "), " a");
  EXPECT_EQ(through({{"type", "Nmt"}}, "a\x01\tb\u200b"), "a b ");
  EXPECT_EQ(through({{"type", "Replace"}, {"pattern", {{"Regex", " +"}}}, {"content", "_"}}, "a  b c"), "a_b_c");
  EXPECT_EQ(through({{"type", "Prepend"}, {"prepend", "x"}}, "a"), "xa");
  EXPECT_EQ(through({{"type", "Prepend"}, {"prepend", "x"}}, ""), "");
}

TEST(Decoders, OneByOne) {
  const auto decode = [](const Json& decoder, const Ids& ids) {
    Json json = test::byte_level_json({});
    json["decoder"] = decoder;
    json["added_tokens"] = {added_token(300, "\u2581a", {{"special", false}}),
                            added_token(301, "  b ", {{"special", false}}),
                            added_token(302, " ", {{"special", false}})};
    const auto tokenizer = make(json);
    std::string text = tokenizer->decode(ids);
    EXPECT_EQ(test::stream(*tokenizer, ids), text);
    return text;
  };
  const Json fuse = {{"type", "Fuse"}};
  const auto strip = [](int start, int stop) {
    return Json{{"type", "Strip"}, {"content", " "}, {"start", start}, {"stop", stop}};
  };
  EXPECT_EQ(decode(nullptr, {'a', 'b'}), "a b");
  EXPECT_EQ(decode({{"type", "Metaspace"}}, {300, 300}), "a a");
  EXPECT_EQ(decode({{"type", "Metaspace"}, {"prepend_scheme", "never"}}, {300, 300}), " a a");
  EXPECT_EQ(decode(strip(1, 1), {301, 301}), " b b");
  EXPECT_EQ(decode({{"type", "Sequence"}, {"decoders", {fuse, strip(3, 0)}}}, {302, 301, 301}), "b   b ");
  EXPECT_EQ(decode({{"type", "Sequence"}, {"decoders", {fuse, strip(0, 2)}}}, {301, 302, 302, 301, 302, 302}),
            "  b     b ");
  EXPECT_EQ(decode({{"type", "ByteLevel"}}, {301, 'x'}), "  b x");  // not in the alphabet: as it is
}

TEST(StreamDecoderTest, EqualsDecodeOnRandomIds) {
  Json with_metaspace = test::byte_fallback_json({"\u2581", "a", "b"}, {{"\u2581", "a"}});
  with_metaspace["decoder"] = {{"type", "Metaspace"}};
  Json without_decoder = test::byte_level_json({{"a", "b"}});
  without_decoder["decoder"] = nullptr;
  std::mt19937_64 random(6);
  for (const Json& json : {test::byte_level_json({{"a", "b"}, {"\xE4", "\xBD"}}), with_metaspace, without_decoder,
                           test::byte_fallback_json({"\u2581", "a", "b"}, {{"\u2581", "a"}})}) {
    const auto tokenizer = make(json);
    for (int round = 0; round < 5000; ++round) {
      Ids ids(random() % 12);
      for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % 270);
      const bool skip = random() % 2 == 0;
      ASSERT_EQ(test::stream(*tokenizer, ids, skip), tokenizer->decode(ids, skip));
    }
  }
}

TEST(StreamDecoderTest, RepeatsNothingOfWhatItSkipped) {
  // Token 3 + b is the byte b. What a run of bytes says is settled behind it only.
  const auto tokenizer = make(test::byte_fallback_json({"\u2581", "a"}, {}));
  const std::int32_t line_feed = *tokenizer->token_id("<0x0A>");
  const std::int32_t a = *tokenizer->token_id("a");
  const auto answer = [&](const Ids& prompt, const Ids& ids) {
    StreamDecoder decoder(*tokenizer);
    decoder.skip(prompt);
    std::string text;
    for (const std::int32_t id : ids) text += decoder.push(id);
    return text + decoder.finish();
  };
  const auto byte = [&](const char* name) { return *tokenizer->token_id(name); };
  EXPECT_EQ(answer({a, line_feed}, {a}), "a");
  EXPECT_EQ(answer({a, line_feed}, {}), "");
  EXPECT_EQ(answer({a, line_feed}, {line_feed, a}), "\na");
  EXPECT_EQ(answer({a, line_feed}, {byte("<0xC3>"), byte("<0xA9>"), a}), "\u00e9a");
  EXPECT_EQ(answer({a, line_feed}, {byte("<0xFF>"), a}), "\uFFFDa");
  EXPECT_EQ(answer({a, byte("<0xC3>")}, {byte("<0xA9>"), a}), "\u00e9a");  // a character comes whole
}

TEST(StreamDecoderTest, WhatFollowsIsTheRestOfTheWholeText) {
  Json with_metaspace = test::byte_fallback_json({"\u2581", "a", "b"}, {{"\u2581", "a"}});
  with_metaspace["decoder"] = {{"type", "Metaspace"}};
  std::mt19937_64 random(8);
  for (const Json& json : {test::byte_level_json({{"a", "b"}, {"\xE4", "\xBD"}}), with_metaspace,
                           test::byte_fallback_json({"\u2581", "a", "b"}, {{"\u2581", "a"}})}) {
    const auto tokenizer = make(json);
    for (int round = 0; round < 5000; ++round) {
      Ids ids(random() % 8);
      // Half of them are bytes of ASCII, so that runs are often valid.
      for (std::int32_t& id : ids) id = static_cast<std::int32_t>(random() % (random() % 2 == 0 ? 130 : 270));
      const std::size_t prompt = random() % (ids.size() + 1);
      const std::string before = tokenizer->decode({ids.data(), prompt});
      const std::string whole = tokenizer->decode(ids);
      if (before.ends_with("\uFFFD") || !whole.starts_with(before)) continue;
      StreamDecoder decoder(*tokenizer);
      decoder.skip({ids.data(), prompt});
      std::string text;
      for (std::size_t i = prompt; i < ids.size(); ++i) text += decoder.push(ids[i]);
      ASSERT_EQ(text + decoder.finish(), whole.substr(before.size()));
    }
  }
}

TEST(StreamDecoderTest, GivesOutTextAsSoonAsItIsSettled) {
  const auto tokenizer = make(test::byte_level_json({}));
  StreamDecoder decoder(*tokenizer);
  EXPECT_EQ(decoder.push('a'), "a");
  EXPECT_EQ(decoder.push(0xE4), "");
  EXPECT_EQ(decoder.push(0xBD), "");
  EXPECT_EQ(decoder.push(0xA0), "\u4f60");
  EXPECT_EQ(decoder.push(0xE4), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
}

TEST(TokenizerTest, ManyThreadsAtOnce) {
  const Json json = test::byte_level_json({{"a", "b"}, {"ab", "c"}, {"l", "l"}});
  const auto tokenizer = make(json);
  std::mt19937_64 random(7);
  std::vector<std::string> texts(200);
  for (std::string& text : texts) text = test::random_text(random, 40) + " abc ab ll";
  std::vector<Ids> expected(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) expected[i] = make(json)->encode(texts[i]);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  threads.reserve(wrong.size());
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < texts.size(); ++i) wrong[t] += tokenizer->encode(texts[i]) != expected[i];
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace awq::text
