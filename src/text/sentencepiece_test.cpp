#include <gtest/gtest.h>

#include <bit>
#include <filesystem>
#include <fstream>

#include "text/protobuf_reader.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/tokenizer_test_support.h"

namespace awq::text {
namespace {

using test::Ids;

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  return out + static_cast<char>(value);
}
std::string number_field(unsigned number, std::uint64_t value) { return varint(number << 3) + varint(value); }
std::string bytes_field(unsigned number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string float_field(unsigned number, float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  std::string out = varint(number << 3 | 5);
  for (int i = 0; i < 4; ++i) out += static_cast<char>(bits >> (8 * i));
  return out;
}

enum Type : unsigned { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

std::string piece(const std::string& text, float score, Type type = kNormal) {
  return bytes_field(1, bytes_field(1, text) + float_field(2, score) + number_field(3, type));
}

struct Spec {
  std::string pieces;  ///< behind <unk> <s> </s>
  bool bytes = false;
  bool dummy_prefix = false;
  bool remove_extra = false;
  std::string trainer = {};
  std::string normalizer = {};
};

std::string model(const Spec& spec) {
  std::string out = piece("<unk>", 0, kUnknown) + piece("<s>", 0, kControl) + piece("</s>", 0, kControl) + spec.pieces;
  for (int byte = 0; spec.bytes && byte < 256; ++byte) out += piece(fmt::format("<0x{:02X}>", byte), 0, kByte);
  out += bytes_field(2, number_field(3, 2) + number_field(35, spec.bytes) + spec.trainer);
  return out +
         bytes_field(3, number_field(3, spec.dummy_prefix) + number_field(4, spec.remove_extra) + spec.normalizer);
}

Ids encode(const Spec& spec, const std::string& text) {
  return Tokenizer::from_sentencepiece(model(spec), "tokenizer.model")->encode(text);
}

TEST(SentencePiece, MergesTheBestScoreFirst) {
  const std::string pieces = piece("a", -9) + piece("b", -9) + piece("c", -9) + piece("bc", -1) + piece("ab", -2);
  EXPECT_EQ(encode({pieces}, "abc"), (Ids{3, 6}));
  EXPECT_EQ(encode({pieces}, "abab"), (Ids{7, 7}));
}

TEST(SentencePiece, EqualScoresGoLeftmostFirst) {
  const std::string pieces = piece("a", -9) + piece("b", -9) + piece("c", -9) + piece("bc", -1) + piece("ab", -1);
  EXPECT_EQ(encode({pieces}, "abc"), (Ids{7, 5}));
  EXPECT_EQ(encode({piece("a", -9) + piece("aa", -1)}, "aaa"), (Ids{4, 3}));
}

TEST(SentencePiece, ACharacterNeedsNoPieceOfItsOwnToMerge) {
  EXPECT_EQ(encode({piece("a", -9) + piece("ab", -1)}, "abb"), (Ids{4, 0}));
  const Ids ids = encode({.pieces = piece("a", -9) + piece("ab", -1), .bytes = true}, "abb");
  EXPECT_EQ(ids, (Ids{4, 5 + 'b'}));
}

TEST(SentencePiece, UnknownCharactersFuse) { EXPECT_EQ(encode({piece("a", -9)}, "xyaz"), (Ids{0, 3, 0})); }

TEST(SentencePiece, UserDefinedPiecesAreTakenFirst) {
  const std::string pieces = piece("a", -9) + piece("b", -9) + piece("ab", -1) + piece("bb", -9, kUserDefined);
  EXPECT_EQ(encode({pieces}, "abba"), (Ids{3, 6, 3}));
}

TEST(SentencePiece, UnusedPiecesSplitBack) {
  const std::string pieces =
      piece("a", -9) + piece("b", -9) + piece("ab", -1, kUnused) + piece("abab", -2) + piece("aba", -3, kUnused);
  EXPECT_EQ(encode({pieces}, "ab"), (Ids{3, 4}));
  EXPECT_EQ(encode({pieces}, "abab"), (Ids{6}));
  EXPECT_EQ(encode({pieces}, "aba"), (Ids{3, 4, 3}));
}

TEST(SentencePiece, Spaces) {
  const std::string pieces = piece("\u2581", -9) + piece("a", -9) + piece("\u2581a", -1);
  EXPECT_EQ(encode({pieces}, "a  a"), (Ids{4, 3, 5}));
  EXPECT_EQ(encode({.pieces = pieces, .dummy_prefix = true}, "a  a"), (Ids{5, 3, 5}));
  EXPECT_EQ(encode({.pieces = pieces, .dummy_prefix = true, .remove_extra = true}, "  a   a "), (Ids{5, 5}));
  EXPECT_EQ(encode({.pieces = pieces, .dummy_prefix = true, .remove_extra = true}, "   "), Ids{});
  const auto tokenizer = Tokenizer::from_sentencepiece(model({.pieces = pieces, .dummy_prefix = true}), "m");
  EXPECT_EQ(tokenizer->decode(Ids{1, 5, 3, 5, 2}), "a  a");
}

TEST(SentencePiece, ControlPiecesAreSpecialTokens) {
  const auto tokenizer = Tokenizer::from_sentencepiece(model({piece("<", -9) + piece("s", -9) + piece(">", -9)}), "m");
  EXPECT_EQ(tokenizer->encode("<s>"), (Ids{1}));
  EXPECT_EQ(tokenizer->encode("<s>", {.parse_special = false}), (Ids{3, 4, 5}));
  EXPECT_EQ(tokenizer->prefix_ids(), (Ids{1}));
  EXPECT_TRUE(tokenizer->is_special(0) && tokenizer->is_special(1) && tokenizer->is_special(2));
  EXPECT_EQ(tokenizer->vocab_size(), 6);
}

TEST(SentencePiece, SettingsOfTheFolder) {
  const std::string bytes = model({.pieces = piece("\u2581", -9) + piece("a", -9), .dummy_prefix = true});
  SentencePieceSettings settings;
  settings.add_bos_token = false;
  settings.add_eos_token = true;
  settings.legacy = false;
  settings.added_tokens = {{.id = 50, .content = "<x>", .special = true}};
  const auto tokenizer = make_sentencepiece_tokenizer(bytes, "m", settings);
  EXPECT_EQ(tokenizer->encode("a<x>a", {.add_special_tokens = true}), (Ids{3, 4, 50, 4, 2}));
  EXPECT_EQ(Tokenizer::from_sentencepiece(bytes, "m")->encode("a</s>a"), (Ids{3, 4, 2, 3, 4}));
}

TEST(SentencePiece, LoadReadsTheFolder) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "sentencepiece_load";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  test::expect_error([&] { Tokenizer::load(folder); }, ErrorCode::kNotFound, {"tokenizer.json"});
  std::ofstream(folder / "tokenizer.model", std::ios::binary) << model({piece("a", -9)});
  EXPECT_EQ(Tokenizer::load(folder)->prefix_ids(), (Ids{1}));
  std::ofstream(folder / "tokenizer_config.json")
      << R"({"add_bos_token": false, "added_tokens_decoder": {"9": {"content": "<x>", "special": true}}})";
  EXPECT_TRUE(Tokenizer::load(folder)->prefix_ids().empty());
  EXPECT_EQ(Tokenizer::load(folder)->encode("a<x>"), (Ids{3, 9}));
  std::ofstream(folder / "tokenizer.json") << test::byte_level_json({}).dump();
  EXPECT_EQ(Tokenizer::load(folder)->vocab_size(), 256);
}

TEST(SentencePiece, RefusesOtherKinds) {
  const auto refused = [](const Spec& spec, ErrorCode code, const std::string& part) {
    test::expect_error([&] { Tokenizer::from_sentencepiece(model(spec), "x.model"); }, code, {"x.model", part});
  };
  refused({.pieces = piece("a", 0), .trainer = number_field(3, 1)}, ErrorCode::kUnsupported, "model_type");
  refused({.pieces = piece("a", 0), .trainer = number_field(24, 1)}, ErrorCode::kUnsupported, "whitespace_as_suffix");
  refused({.pieces = piece("a", 0), .normalizer = bytes_field(2, "map")}, ErrorCode::kUnsupported, "charsmap");
  refused({.pieces = piece("a", 0), .trainer = number_field(35, 1)}, ErrorCode::kCorruptFile, "<0x00>");
  refused({.pieces = piece("a", 0), .trainer = number_field(41, 77)}, ErrorCode::kCorruptFile, "bos_id");
  refused({.pieces = piece("a", 0) + piece("a", 0)}, ErrorCode::kCorruptFile, "a second time");
  refused({.pieces = piece("", 0)}, ErrorCode::kCorruptFile, "UTF-8");
  refused({.pieces = piece("\xFF", 0)}, ErrorCode::kCorruptFile, "UTF-8");
  refused({.pieces = piece("a", std::numeric_limits<float>::infinity())}, ErrorCode::kCorruptFile, "finite");
  refused({.pieces = piece("a", 0, static_cast<Type>(9))}, ErrorCode::kCorruptFile, "type");
  refused({.pieces = piece(std::string(600, 'a'), 0)}, ErrorCode::kUnsupported, "600 bytes");
}

TEST(SentencePiece, EveryTruncationIsAnErrorOrAnotherModel) {
  const std::string bytes = model({piece("a", -9) + piece("ab", -1)});
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    try {
      Tokenizer::from_sentencepiece(bytes.substr(0, size), "m")->encode("abab");
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kCorruptFile || error.code() == ErrorCode::kUnsupported) << error.what();
    }
  }
}

TEST(Protobuf, RefusesBrokenFields) {
  const auto read = [](const std::string& bytes) {
    ProtobufReader reader(bytes, "file");
    while (reader.next()) {
    }
  };
  for (const std::string& bytes :
       {std::string("\x08"),
        std::string("\x0A\x05"
                    "abc"),
        std::string("\x0D\x01"), std::string("\x0B"), std::string("\x00\x01", 2), std::string(11, '\xFF'),
        std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01")}) {
    test::expect_error([&] { read(bytes); }, ErrorCode::kCorruptFile, {"file: byte"});
  }
}

}  // namespace
}  // namespace awq::text
