#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "file/json.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace awq::text::test {

using file::Json;
using Ids = std::vector<std::int32_t>;

inline Json added_token(std::int32_t id, const std::string& content, const Json& flags = Json::object()) {
  Json token = {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", true}};
  token.update(flags);
  return token;
}

/// A byte-level tokenizer: ids 0-255 are the bytes, then the results of `merges` (raw bytes) in order.
inline Json byte_level_json(const std::vector<std::pair<std::string, std::string>>& merges) {
  Json vocab = Json::object();
  Json list = Json::array();
  for (int byte = 0; byte < 256; ++byte) vocab[to_byte_chars(std::string(1, static_cast<char>(byte)))] = byte;
  for (const auto& [left, right] : merges) {
    const int id = static_cast<int>(vocab.size());
    vocab.emplace(to_byte_chars(left + right), id);
    list.push_back({to_byte_chars(left), to_byte_chars(right)});
  }
  return {{"version", "1.0"},
          {"added_tokens", Json::array()},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", list}}}};
}

/// A SentencePiece-style tokenizer as converters write it: <unk> <s> </s>, 256 byte tokens, then `tokens`.
inline Json byte_fallback_json(const std::vector<std::string>& tokens,
                               const std::vector<std::pair<std::string, std::string>>& merges) {
  Json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) vocab[fmt::format("<0x{:02X}>", byte)] = byte + 3;
  for (const std::string& token : tokens) vocab.emplace(token, static_cast<int>(vocab.size()));
  Json list = Json::array();
  for (const auto& [left, right] : merges) {
    vocab.emplace(left + right, static_cast<int>(vocab.size()));
    list.push_back(fmt::format("{} {}", left, right));
  }
  const auto replace = [](const char* from, const char* to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  const Json prepend = {{"type", "Prepend"}, {"prepend", "\u2581"}};
  const Json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  const Json bos = {{"id", "<s>"}, {"ids", Json::array({1})}, {"tokens", Json::array({"<s>"})}};
  const Json bos_piece = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const Json text_piece = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  return {{"added_tokens", {added_token(0, "<unk>"), added_token(1, "<s>"), added_token(2, "</s>")}},
          {"normalizer", {{"type", "Sequence"}, {"normalizers", {prepend, replace(" ", "\u2581")}}}},
          {"post_processor",
           {{"type", "TemplateProcessing"},
            {"single", Json::array({bos_piece, text_piece})},
            {"special_tokens", {{"<s>", bos}}}}},
          {"decoder",
           {{"type", "Sequence"},
            {"decoders", {replace("\u2581", " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}, strip}}}},
          {"model",
           {{"type", "BPE"},
            {"unk_token", "<unk>"},
            {"fuse_unk", true},
            {"byte_fallback", true},
            {"vocab", vocab},
            {"merges", list}}}};
}

inline std::unique_ptr<Tokenizer> make(const Json& json) { return Tokenizer::from_json(json.dump(), "tokenizer.json"); }

inline std::string stream(const Tokenizer& tokenizer, const Ids& ids, bool skip_special = true) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string out;
  for (const std::int32_t id : ids) {
    const std::string piece = decoder.push(id);
    EXPECT_EQ(valid_utf8_prefix(piece), piece.size());
    out += piece;
  }
  return out + decoder.finish();
}

/// Random text out of characters that tokenizers treat differently.
inline std::string random_text(std::mt19937_64& random, std::size_t max_scalars) {
  static const std::vector<std::string> kParts = {"a",
                                                  "b",
                                                  "B",
                                                  "s",
                                                  "t",
                                                  "ll",
                                                  "'",
                                                  "'S",
                                                  " ",
                                                  "  ",
                                                  "\t",
                                                  "\n",
                                                  "\r\n",
                                                  "0",
                                                  "7",
                                                  "12345",
                                                  ".",
                                                  ",",
                                                  "!?",
                                                  "_",
                                                  "\u00e9",
                                                  "e\u0301",
                                                  "\u0301",
                                                  "\u0323",
                                                  "\u00df",
                                                  "\u017f",
                                                  "\u0130",
                                                  "\u00a0",
                                                  "\u3000",
                                                  "\u0085",
                                                  "\u2028",
                                                  "\u180e",
                                                  "\u200d",
                                                  "\u2581",
                                                  "\u4f60",
                                                  "\u597d",
                                                  "\uac00",
                                                  "\u1100",
                                                  "\u1161",
                                                  "\u11a8",
                                                  "\u00bd",
                                                  "\u2167",
                                                  "\u0663",
                                                  "\uff11",
                                                  "\ufb01",
                                                  "\u0e44",
                                                  "\u0939\u093f",
                                                  "\U0001f600",
                                                  "\U0001d54f",
                                                  "\U00020000"};
  std::string out;
  const std::size_t count = random() % (max_scalars + 1);
  for (std::size_t i = 0; i < count; ++i) {
    if (random() % 8 != 0) {
      out += kParts[random() % kParts.size()];
      continue;
    }
    char32_t scalar = static_cast<char32_t>(random() % 0x110000);
    if (scalar >= 0xD800 && scalar <= 0xDFFF) scalar = U'x';
    append_utf8(out, scalar);
  }
  return out;
}

/// Expects an Error of this code whose message has all of `parts`.
template <typename Call>
void expect_error(Call call, ErrorCode code, const std::vector<std::string>& parts) {
  try {
    call();
    FAIL() << "no error, expected one with " << (parts.empty() ? "" : parts[0]);
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    for (const std::string& part : parts) {
      EXPECT_NE(std::string_view(error.what()).find(part), std::string_view::npos)
          << error.what() << " has no " << part;
    }
  }
}

}  // namespace awq::text::test
