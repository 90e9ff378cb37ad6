#include <array>
#include <string>
#include <string_view>

#include "base/check.h"
#include "text/split_regex.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

// Where Oniguruma and PCRE2 differ on what tokenizers use:
//   \s    PCRE2 adds U+180E                          -> the property White_Space
//   \w    PCRE2 10.42 knows letters, digits and _    -> Alphabetic, marks, numbers, Pc
//   \h    hexadecimal digit / horizontal space       -> the digits
//   \v    vertical tab / any vertical space          -> the tab
//   \uHHHH                                           -> \x{HHHH}
//   \p{Han} script / script extensions               -> \p{sc:Han}
//   [a[b]] and && in classes, named and recursive groups, {n}+, \b, \x: refused
constexpr std::string_view kWordSet = R"(\p{Alphabetic}\p{M}\p{N}\p{Pc})";

constexpr std::array<std::string_view, 9> kScripts = {"Han",  "Hiragana", "Katakana", "Hangul", "Latin",
                                                      "Thai", "Cyrillic", "Arabic",   "Greek"};

class Translator {
 public:
  Translator(const std::string& pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    while (at_ < pattern_.size()) step();
    if (in_class_) refuse("a class without an end");
    return std::move(out_);
  }

 private:
  void step() {
    const char c = pattern_[at_];
    if (c == '\\') {
      escape();
    } else if (in_class_) {
      class_member(c);
    } else if (c == '[') {
      open_class();
    } else if (c == '(' && next_is("?")) {
      group();
    } else if (c == '(' && next_is("*")) {
      refuse("a verb");
    } else if (c == '{') {
      quantifier();
    } else {
      copy(1);
    }
  }

  void open_class() {
    in_class_ = true;
    copy(1);
    if (at_ < pattern_.size() && pattern_[at_] == '^') copy(1);
    // A bracket right after the opening one is a character in PCRE2 and an error in Oniguruma.
    if (at_ < pattern_.size() && pattern_[at_] == ']') refuse("an empty class");
  }

  void class_member(char c) {
    if (c == '[') refuse("a class in a class");
    if (c == '&' && next_is("&")) refuse("an intersection of classes");
    if (c == ']') in_class_ = false;
    copy(1);
  }

  void group() {
    static constexpr std::array<std::string_view, 9> kGroups = {"(?:", "(?=",  "(?!",  "(?<=", "(?<!",
                                                                "(?>", "(?i:", "(?i)", "(?-i:"};
    for (const std::string_view group : kGroups) {
      if (std::string_view(pattern_).substr(at_).starts_with(group)) {
        copy(group.size());
        return;
      }
    }
    refuse("a group of this kind");
  }

  /// {n,m} is the same in both; {,m} and a plus behind the brace are not.
  void quantifier() {
    if (next_is(",")) refuse("a quantifier without a lower bound");
    const std::size_t close = pattern_.find('}', at_);
    if (close != std::string::npos && close + 1 < pattern_.size() && pattern_[close + 1] == '+') {
      refuse("a quantifier of a quantifier");
    }
    copy(1);
  }

  void escape() {
    if (at_ + 1 >= pattern_.size()) refuse("a backslash at the end");
    const char c = pattern_[at_ + 1];
    switch (c) {
      case 's':
        replace(R"(\p{White_Space})");
        return;
      case 'S':
        replace(R"(\P{White_Space})");
        return;
      case 'd':
        replace(R"(\p{Nd})");
        return;
      case 'D':
        replace(R"(\P{Nd})");
        return;
      case 'w':
        replace(in_class_ ? std::string(kWordSet) : "[" + std::string(kWordSet) + "]");
        return;
      case 'W':
        if (in_class_) refuse("\\W in a class");
        replace("[^" + std::string(kWordSet) + "]");
        return;
      case 'h':
        replace(in_class_ ? "0-9a-fA-F" : "[0-9a-fA-F]");
        return;
      case 'v':
        replace(R"(\x0b)");
        return;
      case 'u':
        unicode_escape();
        return;
      case 'p':
      case 'P':
        property();
        return;
      default:
        break;
    }
    const bool is_letter_or_digit = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    const bool is_same = std::string_view("rntfaeAz").find(c) != std::string_view::npos;
    if (is_letter_or_digit && !is_same) refuse(std::string("\\") + c);
    if (static_cast<unsigned char>(c) >= 0x80) {
      at_ += 1;
      copy(1);
    } else {
      copy(2);
    }
  }

  void unicode_escape() {
    const std::string_view digits = std::string_view(pattern_).substr(at_ + 2).substr(0, 4);
    if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string_view::npos) {
      refuse("\\u without four hexadecimal digits");
    }
    out_.append("\\x{").append(digits).append("}");
    at_ += 6;
  }

  void property() {
    const std::size_t close = pattern_.find('}', at_);
    if (!std::string_view(pattern_).substr(at_ + 2).starts_with("{") || close == std::string::npos) {
      refuse("a property without braces");
    }
    std::string_view name = std::string_view(pattern_).substr(at_ + 3, close - at_ - 3);
    const bool negated = name.starts_with("^");
    if (negated) name.remove_prefix(1);
    out_.append(pattern_, at_, 3);
    if (negated) out_ += '^';
    for (const std::string_view script : kScripts) {
      if (name == script) out_ += "sc:";
    }
    out_.append(name).append("}");
    at_ = close + 1;
  }

  bool next_is(std::string_view text) const { return std::string_view(pattern_).substr(at_ + 1).starts_with(text); }

  void copy(std::size_t bytes) {
    out_.append(pattern_, at_, bytes);
    at_ += bytes;
  }

  void replace(std::string_view with) {
    out_.append(with);
    at_ += 2;
  }

  [[noreturn]] void refuse(std::string_view what) const {
    fail(ErrorCode::kUnsupported, "{}: the pattern \"{}\" has {} at byte {}, which is not implemented", where_,
         printable(pattern_), what, at_);
  }

  const std::string& pattern_;
  const std::string& where_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

std::string translate_pattern(const std::string& pattern, const std::string& where) {
  if (valid_utf8_prefix(pattern) != pattern.size()) {
    fail(ErrorCode::kUnsupported, "{}: the pattern is not valid UTF-8", where);
  }
  return Translator(pattern, where).run();
}

}  // namespace awq::text
