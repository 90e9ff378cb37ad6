#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace awq::chat {

/// The longest name of a function or of an argument: in a request, and as a model writes it with what marks its end.
inline constexpr std::size_t kMaxNameBytes = 256;

/// White space of JSON, which models also put around calls.
inline constexpr std::string_view kSpaces = " \n\t\r";
inline bool is_space(char c) { return kSpaces.find(c) != std::string_view::npos; }
/// Without white space at both ends.
std::string_view trimmed(std::string_view text);
/// Length of the longest end of `text` that is a proper beginning of `tag`.
std::size_t partial(std::string_view text, std::string_view tag);
/// `text` as a JSON string; what is no UTF-8 is replaced.
std::string in_quotes(std::string_view text);

/// Tells the strings in JSON text from what is around them, one character at a time.
class JsonStringScanner {
 public:
  /// The next character will be part of a string: of its text, or the quote that ends it.
  bool inside() const { return inside_; }
  void push(char c) {
    if (!inside_) {
      inside_ = c == '"';
    } else if (escaped_) {
      escaped_ = false;
    } else if (c == '\\') {
      escaped_ = true;
    } else if (c == '"') {
      inside_ = false;
    }
  }

 private:
  bool inside_ = false, escaped_ = false;
};

}  // namespace awq::chat
