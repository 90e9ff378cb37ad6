// tokenizer.json files that are wrong, on purpose or not.

#include <gtest/gtest.h>

#include "text/tokenizer_test_support.h"

namespace awq::text {
namespace {

using test::added_token;
using test::Ids;
using test::Json;

void expect_refused(const Json& json, ErrorCode code, const std::vector<std::string>& parts) {
  test::expect_error([&] { test::make(json); }, code, parts);
}

Json small() { return test::byte_level_json({{"a", "b"}}); }

TEST(HostileTokenizer, Ids) {
  for (const Json& id : {Json(-1), Json(1LL << 40), Json(4194304), Json("7"), Json(1.5), Json(UINT64_MAX)}) {
    Json json = small();
    json["model"]["vocab"]["zz"] = id;
    expect_refused(json, ErrorCode::kCorruptFile, {"tokenizer.json: model.vocab.zz"});
    json = small();
    json["added_tokens"] = Json::array({added_token(0, "zz", {{"id", id}})});
    expect_refused(json, ErrorCode::kCorruptFile, {"added_tokens[0].id"});
  }
  Json json = small();
  json["model"]["vocab"]["zz"] = 7;
  expect_refused(json, ErrorCode::kCorruptFile, {"model.vocab", "id 7"});
  json = small();
  json["model"]["vocab"]["zz"] = 4194303;  // a large hole is fine
  EXPECT_EQ(test::make(json)->vocab_size(), 4194304);
}

TEST(HostileTokenizer, Merges) {
  for (const Json& merge : {Json("ab"), Json("a b c"), Json::array({"a"}), Json({"a", "b", "c"}), Json(5),
                            Json({"a", 5}), Json("a zz"), Json("zz a"), Json("b a")}) {
    Json json = small();
    json["model"]["merges"].push_back(merge);
    expect_refused(json, ErrorCode::kCorruptFile, {"tokenizer.json: model.merges"});
  }
  Json json = small();
  json["model"]["merges"] = {"#version: 0.2", "a b", "a b"};
  EXPECT_EQ(test::make(json)->encode("ab"), (Ids{256}));
}

TEST(HostileTokenizer, EmptyTokensAreHarmless) {
  Json json = small();
  json["model"]["vocab"][""] = 900;
  json["model"]["merges"].push_back({"", "a"});
  json["model"]["merges"].push_back({"", ""});
  json["added_tokens"] = {added_token(901, "[x]"), added_token(900, "")};
  EXPECT_EQ(test::make(json)->encode("ab[x]"), (Ids{256, 901}));
}

TEST(HostileTokenizer, AddedTokens) {
  Json json = small();
  json["added_tokens"] = Json::array({added_token(7, "zz")});
  expect_refused(json, ErrorCode::kCorruptFile, {"added_tokens", "id 7"});
  json["added_tokens"] = {added_token(700, "yy"), added_token(700, "zz")};
  expect_refused(json, ErrorCode::kCorruptFile, {"added_tokens", "id 700"});
  json["added_tokens"] = Json::array({added_token(700, std::string(1000, 'x'))});
  expect_refused(json, ErrorCode::kUnsupported, {"1000 bytes"});
}

TEST(HostileTokenizer, UnknownStagesAreNamed) {
  const auto with = [](const char* stage, const Json& value) {
    Json json = small();
    json[stage] = value;
    return json;
  };
  const Json other = {{"type", "Frobnicate"}};
  for (const char* stage : {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    expect_refused(with(stage, other), ErrorCode::kUnsupported, {stage, "Frobnicate"});
    expect_refused(with(stage, Json::array()), ErrorCode::kCorruptFile, {stage});
    expect_refused(with(stage, {{"type", 5}}), ErrorCode::kCorruptFile, {stage, "type"});
  }
  expect_refused(with("normalizer", {{"type", "Precompiled"}}), ErrorCode::kUnsupported, {"Precompiled"});
  expect_refused(with("version", "2.0"), ErrorCode::kUnsupported, {"version"});
  for (const char* type : {"Unigram", "WordPiece", "WordLevel"}) {
    Json json = small();
    json["model"]["type"] = type;
    expect_refused(json, ErrorCode::kUnsupported, {"model", type});
  }
}

TEST(HostileTokenizer, PostProcessor) {
  Json json = test::byte_fallback_json({"a"}, {});
  json["post_processor"]["special_tokens"]["<s>"]["ids"] = Json::array({100000});
  expect_refused(json, ErrorCode::kCorruptFile, {"post_processor", "100000"});
  json = test::byte_fallback_json({"a"}, {});
  json["post_processor"]["special_tokens"] = Json::object();
  expect_refused(json, ErrorCode::kCorruptFile, {"post_processor.special_tokens", "<s>"});
  json = test::byte_fallback_json({"a"}, {});
  json["post_processor"]["single"] = Json::array();
  expect_refused(json, ErrorCode::kUnsupported, {"post_processor.single"});
}

TEST(HostileTokenizer, DecodersOutOfOrder) {
  Json json = small();
  json["decoder"] = {{"type", "Sequence"}, {"decoders", {{{"type", "Fuse"}}, {{"type", "ByteFallback"}}}}};
  expect_refused(json, ErrorCode::kUnsupported, {"decoder"});
}

TEST(HostileTokenizer, NormalizersThatExplode) {
  Json json = small();
  const Json replace = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", std::string(200, 'a')}};
  json["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json::array({replace, replace, replace, replace})}};
  const auto tokenizer = test::make(json);
  test::expect_error([&] { tokenizer->encode(std::string(1000, 'a')); }, ErrorCode::kUnsupported, {"normalizer"});
  json["normalizer"] = replace;
  json["normalizer"]["content"] = std::string(100000, 'a');
  expect_refused(json, ErrorCode::kCorruptFile, {"normalizer.content"});
}

TEST(HostileTokenizer, NotEvenJson) {
  for (const char* text : {"", "[]", "{}", "null", "{\"model\": 5}", "{\"model\": {}}",
                           "{\"model\": {\"type\": \"BPE\"}}", "{\"model\": {\"vocab\": [], \"merges\": []}}"}) {
    test::expect_error([&] { Tokenizer::from_json(text, "bad.json"); },
                       std::string_view(text) == "{\"model\": {}}" ? ErrorCode::kUnsupported : ErrorCode::kCorruptFile,
                       {"bad.json"});
  }
}

}  // namespace
}  // namespace awq::text
