#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace awq::server {

/// The text of single tokens, as logprobs show them: with the blank that a word begins with, which decoding a token
/// alone would drop. Immutable.
class TokenTexts {
 public:
  explicit TokenTexts(const text::Tokenizer& tokenizer);

  /// Valid UTF-8; half a character is U+FFFD. With `as_id`: "token_id:17".
  std::string text(std::int32_t id, bool as_id = false) const;

 private:
  const text::Tokenizer& tokenizer_;
  std::vector<std::int32_t> anchor_;  ///< ids whose text stands before the token, so that it is in the middle of a text
  std::string anchor_text_;
};

/// Characters (code points) of valid UTF-8.
std::int64_t count_characters(std::string_view text);

}  // namespace awq::server
