#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "text/literal_set.h"

namespace awq::text {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool single_word = false;  ///< only between characters that are not of a word
  bool lstrip = false;       ///< swallows the white space before it
  bool rstrip = false;       ///< swallows the white space after it
  bool normalized = false;   ///< matched in normalized text, by its normalized content
  bool special = false;      ///< left out by decode(skip_special_tokens), not matched in text of users
};

/// A part of a text: an added token, or plain text (id < 0).
struct TextPart {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::int32_t id = -1;
};

/// One of the two sets of added tokens: those matched in raw text or those matched in normalized text.
class AddedTokenSet {
 public:
  AddedTokenSet() = default;
  AddedTokenSet(AddedTokenSet&&) = default;
  AddedTokenSet& operator=(AddedTokenSet&&) = default;
  AddedTokenSet(const AddedTokenSet&) = delete;  // tokens_ points into by_content_
  AddedTokenSet& operator=(const AddedTokenSet&) = delete;

  /// `content` is what to look for; throws kUnsupported when it is longer than LiteralSet allows. A content that is
  /// there already takes the new token.
  void add(std::string content, const AddedToken& token);
  /// Call once, after all add().
  void finish();

  /// Cuts `text` (valid UTF-8, not empty) at the leftmost-longest matches.
  void split(std::string_view text, bool match_special, std::vector<TextPart>& out) const;

 private:
  std::map<std::string, AddedToken> by_content_;
  std::vector<const AddedToken*> tokens_;  ///< in the order of literals_
  LiteralSet literals_;
};

}  // namespace awq::text
