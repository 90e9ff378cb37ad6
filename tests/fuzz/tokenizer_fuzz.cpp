// Tokenizers out of hostile files. One that is accepted must encode any text to ids of its vocabulary, decode any ids
// to valid UTF-8, and stream the same text that it decodes.
//
// First byte of the input: how to read the rest. 0: tokenizer.json up to a zero byte, then a text. 1: the bytes of
// tokenizer.model up to the last zero byte, then a text. Others: a text for built-in tokenizers.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "awq/error.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using awq::text::Tokenizer;

void require(bool condition) {
  if (!condition) std::abort();
}

void exercise(const Tokenizer& tokenizer, std::string_view text) {
  const std::vector<std::int32_t> ids = tokenizer.encode(text, {.add_special_tokens = true});
  for (const std::int32_t id : ids) require(id >= 0 && id < tokenizer.vocab_size());
  tokenizer.encode(text, {.parse_special = false});
  std::vector<std::int32_t> any = ids;
  for (const char byte : text) any.push_back(static_cast<unsigned char>(byte) - 2);
  for (const bool skip : {false, true}) {
    const std::string decoded = tokenizer.decode(any, skip);
    require(awq::text::valid_utf8_prefix(decoded) == decoded.size());
    awq::text::StreamDecoder stream(tokenizer, skip);
    std::string streamed;
    for (const std::int32_t id : any) {
      const std::string piece = stream.push(id);
      require(awq::text::valid_utf8_prefix(piece) == piece.size());
      streamed += piece;
    }
    require(streamed + stream.finish() == decoded);
  }
}

std::unique_ptr<Tokenizer> built_in() {
  std::string vocab;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string token = awq::text::to_byte_chars(std::string(1, static_cast<char>(byte)));
    vocab += '"';
    if (token == "\"" || token == "\\") vocab += '\\';
    vocab += token;
    vocab += "\":";
    vocab += std::to_string(byte);
    vocab += ',';
  }
  return Tokenizer::from_json(
      R"({"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
          "decoder":{"type":"ByteLevel"},
          "added_tokens":[{"id":300,"content":"<s>","special":true,"lstrip":true,"normalized":false}],
          "model":{"type":"BPE","vocab":{)" +
          vocab + R"("aa":256,"aaa":257},"merges":["a a","aa a"]}})",
      "built-in");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] == 0) {
      const std::size_t end = std::min(input.find('\0'), input.size());
      exercise(*Tokenizer::from_json(input.substr(0, end), "fuzz"), input.substr(end));
    } else if (data[0] == 1) {
      const std::size_t end = std::min(input.rfind('\0'), input.size());
      exercise(*Tokenizer::from_sentencepiece(input.substr(0, end), "fuzz"), input.substr(end));
    } else {
      static const std::unique_ptr<Tokenizer> tokenizer = built_in();
      exercise(*tokenizer, input);
    }
  } catch (const awq::Error& error) {
    require(error.code() == awq::ErrorCode::kCorruptFile || error.code() == awq::ErrorCode::kUnsupported);
  }
  return 0;
}
