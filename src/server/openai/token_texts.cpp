#include "server/openai/token_texts.h"

#include <algorithm>

namespace awq::server {

TokenTexts::TokenTexts(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  anchor_ = tokenizer.encode("a", {.add_special_tokens = false, .parse_special = false});
  anchor_text_ = tokenizer.decode(anchor_, false);
}

std::string TokenTexts::text(std::int32_t id, bool as_id) const {
  if (as_id) return "token_id:" + std::to_string(id);
  std::vector<std::int32_t> ids = anchor_;
  ids.push_back(id);
  const std::string both = tokenizer_.decode(ids, false);
  if (both.starts_with(anchor_text_)) return both.substr(anchor_text_.size());
  return tokenizer_.decode({&id, 1}, false);
}

std::int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace awq::server
