#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/json_field.h"

namespace awq::text {

/// What a decoder of tokenizer.json does, one stage.
struct DecodeStep {
  enum class Kind {
    kReplace,       ///< `text` -> `content`
    kByteFallback,  ///< runs of <0xHH> tokens -> the text of their bytes
    kFuse,          ///< all tokens become one
    kStrip,         ///< up to `start` and `stop` times the character `text` off the ends
    kByteLevel,     ///< byte-level alphabet -> text
    kMetaspace,     ///< the character `text` -> space; nothing in the first token, if `drop_first`
    kJoin,          ///< a space between tokens: what happens without a decoder
  };
  Kind kind = Kind::kFuse;
  std::string text = {};
  std::string content = {};
  std::size_t start = 0;
  std::size_t stop = 0;
  bool drop_first = false;
};

/// The `decoder` of tokenizer.json. Throws kUnsupported for a type, or an order of stages, that is not implemented.
std::vector<DecodeStep> read_decoder(const JsonField& field);

class DecodeStage;

/// Tokens to text, one token at a time: each push() gives the text that no later token can change any more. What
/// decode() returns is by definition all of these pieces, so streamed text cannot differ from it.
class TokenTextStream {
 public:
  explicit TokenTextStream(const std::vector<DecodeStep>& steps);
  TokenTextStream(TokenTextStream&&) noexcept;
  ~TokenTextStream();

  void push(std::string_view token, std::string& out);
  /// The text held back; call once, at the end.
  void finish(std::string& out);

 private:
  std::vector<std::unique_ptr<DecodeStage>> stages_;
};

}  // namespace awq::text
