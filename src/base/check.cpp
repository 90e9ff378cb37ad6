#include "base/check.h"

#include <cstring>

namespace awq {

void check_failed(const char* expression, const char* file, int line) {
  const char* slash = std::strrchr(file, '/');
  fail(ErrorCode::kInternal, "internal error: {} does not hold at {}:{}", expression, slash ? slash + 1 : file, line);
}

std::string printable(std::string_view text, std::size_t max_length) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (out.size() >= max_length) return out + "...";
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c == 0x7F || c >= 0x80) {
      out += fmt::format("\\x{:02x}", c);
    } else {
      out += static_cast<char>(c);
    }
  }
  return out;
}

}  // namespace awq
