#include "chat/scan_text.h"

#include <algorithm>

#include "file/json.h"

namespace awq::chat {

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

std::size_t partial(std::string_view text, std::string_view tag) {
  for (std::size_t n = std::min(text.size(), tag.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == tag.substr(0, n)) return n;
  }
  return 0;
}

std::string in_quotes(std::string_view text) { return file::to_line(file::OrderedJson(std::string(text))); }

}  // namespace awq::chat
