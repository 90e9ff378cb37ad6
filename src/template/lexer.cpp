#include "template/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/check.h"
#include "text/utf8.h"

namespace awq::templates {
namespace {

constexpr std::size_t kMaxSourceBytes = 4 << 20;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_name_char(char c) { return is_name_start(c) || is_digit(c); }

/// Line ends become "\n"; one at the very end is dropped.
std::string normalized(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string source, const std::string& name) : source_(std::move(source)), name_(name) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text();
    add(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void error(const std::string& message) const {
    fail(ErrorCode::kCorruptFile, "{}:{}: {}", name_, line_, message);
  }

  bool looking_at(std::string_view what) const { return source_.compare(at_, what.size(), what) == 0; }

  void add(TokenKind kind, std::string text) {
    tokens_.push_back({.kind = kind, .text = std::move(text), .line = line_});
  }

  /// Moves on, counting lines.
  void advance(std::size_t to) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(to), '\n'));
    line_starting_ = to > at_ ? source_[to - 1] == '\n' : line_starting_;
    at_ = to;
  }

  std::size_t skip_space(std::size_t from) const {
    const std::string_view rest = std::string_view(source_).substr(from);
    return from + (rest.size() - strip_left(rest).size());
  }

  /// Text up to the next tag, then that tag.
  void text() {
    std::size_t tag = at_;
    while ((tag = source_.find('{', tag)) != std::string::npos) {
      const char next = tag + 1 < source_.size() ? source_[tag + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') break;
      ++tag;
    }
    if (tag == std::string::npos) {
      add_data(std::string_view(source_).substr(at_));
      advance(source_.size());
      return;
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    std::string_view data = std::string_view(source_).substr(at_, tag - at_);
    if (sign == '-') {
      data = strip_right(data);
    } else if (sign != '+' && kind != '{') {
      data = without_indent(data);
    }
    add_data(data);
    advance(tag);
    const std::size_t body = tag + 2 + (sign == '-' || sign == '+' ? 1 : 0);
    if (kind == '#') {
      comment(body);
    } else if (kind == '%' && raw_block(body)) {
      return;
    } else {
      add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin, "");
      advance(body);
      code(kind == '%');
    }
  }

  /// lstrip_blocks: blanks between the beginning of a line and a tag go.
  std::string_view without_indent(std::string_view data) const {
    const std::size_t newline = data.rfind('\n');
    if (newline == std::string_view::npos && !line_starting_) return data;
    const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
    return strip_left(data.substr(begin)).empty() ? data.substr(0, begin) : data;
  }

  void add_data(std::string_view data) {
    if (!data.empty()) add(TokenKind::kData, std::string(data));
  }

  /// Where the text goes on after an end tag at `at`; `sign` is what stood before it.
  std::size_t after_end(std::size_t at, char sign, bool trims_newline) const {
    if (sign == '-') return skip_space(at);
    if (sign != '+' && trims_newline && at < source_.size() && source_[at] == '\n') return at + 1;
    return at;
  }

  void comment(std::size_t body) {
    const std::size_t end = source_.find("#}", body);
    if (end == std::string::npos) error("comment without an end");
    const char sign = end > body ? source_[end - 1] : '\0';
    advance(after_end(end + 2, sign, true));
  }

  /// {% raw %} ... {% endraw %}: text that is not looked into. False when this is no such block.
  bool raw_block(std::size_t body) {
    std::size_t at = skip_space(body);
    if (source_.compare(at, 3, "raw") != 0) return false;
    at = skip_space(at + 3);
    if (source_.compare(at, 3, "-%}") == 0) {
      at = skip_space(at + 3);
    } else if (source_.compare(at, 2, "%}") == 0) {
      at += 2;
    } else {
      return false;
    }
    for (std::size_t end = at; (end = source_.find("{%", end)) != std::string::npos; end += 2) {
      const char sign = end + 2 < source_.size() ? source_[end + 2] : '\0';
      std::size_t word = skip_space(end + 2 + (sign == '-' || sign == '+' ? 1 : 0));
      if (source_.compare(word, 6, "endraw") != 0) continue;
      word = skip_space(word + 6);
      const char close = word < source_.size() ? source_[word] : '\0';
      if (close == '-' || close == '+') ++word;
      if (source_.compare(word, 2, "%}") != 0) continue;
      advance(at);
      std::string_view data = std::string_view(source_).substr(at, end - at);
      add_data(sign == '-' ? strip_right(data) : sign == '+' ? data : without_indent(data));
      advance(after_end(word + 2, close, true));
      return true;
    }
    error("raw block without {% endraw %}");
  }

  /// The inside of a tag, up to its end.
  void code(bool is_block) {
    const std::string_view close = is_block ? "%}" : "}}";
    std::string open;
    while (true) {
      const std::size_t begin = skip_space(at_);
      advance(begin);
      if (at_ >= source_.size()) error(fmt::format("tag without its end \"{}\"", close));
      const char c = source_[at_];
      if (open.empty()) {
        const bool sign = c == '-' || (is_block && c == '+');
        if (looking_at(close) || (sign && source_.compare(at_ + 1, 2, close) == 0)) {
          add(is_block ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, "");
          advance(after_end(at_ + (sign ? 3 : 2), sign ? c : '\0', is_block));
          return;
        }
      }
      if (is_digit(c)) {
        number();
      } else if (is_name_start(c)) {
        std::size_t end = at_;
        while (end < source_.size() && is_name_char(source_[end])) ++end;
        add(TokenKind::kName, source_.substr(at_, end - at_));
        advance(end);
      } else if (c == '"' || c == '\'') {
        string(c);
      } else {
        operation(open);
      }
    }
  }

  void operation(std::string& open) {
    constexpr std::array<std::string_view, 6> kDouble = {"//", "**", "==", "!=", ">=", "<="};
    constexpr std::string_view kSingle = "+-*/%~[](){}<>=.:|,;";
    const char c = source_[at_];
    const auto two = std::find_if(kDouble.begin(), kDouble.end(), [&](std::string_view op) { return looking_at(op); });
    if (two == kDouble.end() && kSingle.find(c) == std::string_view::npos) {
      error(fmt::format("unexpected character '{}'", printable({&source_[at_], 1})));
    }
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty()) error(fmt::format("unexpected '{}'", c));
      if (open.back() != c) error(fmt::format("unexpected '{}', expected '{}'", c, open.back()));
      open.pop_back();
    }
    add(TokenKind::kOperator, two == kDouble.end() ? std::string(1, c) : std::string(*two));
    advance(at_ + tokens_.back().text.size());
  }

  void number() {
    std::size_t end = at_;
    const auto digits = [&](std::size_t from) {
      while (from < source_.size() && (is_digit(source_[from]) || (source_[from] == '_' && from + 1 < source_.size() &&
                                                                   is_digit(source_[from + 1])))) {
        ++from;
      }
      return from;
    };
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    const char radix = at_ + 1 < source_.size() && source_[at_] == '0' ? source_[at_ + 1] : '\0';
    int base = 10;
    if (radix == 'x' || radix == 'X') base = 16;
    if (radix == 'o' || radix == 'O') base = 8;
    if (radix == 'b' || radix == 'B') base = 2;
    bool is_float = false;
    if (base != 10) {
      end += 2;
      while (end < source_.size() && is_name_char(source_[end])) ++end;
    } else {
      end = digits(end);
      if (end < source_.size() && source_[end] == '.' && digit_at(end + 1) && !after_dot()) {
        is_float = true;
        end = digits(end + 1);
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        const std::size_t sign =
            end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-') ? 1 : 0;
        if (digit_at(end + 1 + sign)) {
          is_float = true;
          end = digits(end + 1 + sign);
        }
      }
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    Token token{.kind = is_float ? TokenKind::kFloat : TokenKind::kInteger, .text = text, .line = line_};
    const char* first = text.data() + (base == 10 ? 0 : 2);
    const char* last = text.data() + text.size();
    const auto result =
        is_float ? std::from_chars(first, last, token.number) : std::from_chars(first, last, token.integer, base);
    if (result.ec != std::errc() || result.ptr != last) error(fmt::format("number {}: out of range", printable(text)));
    tokens_.push_back(std::move(token));
    advance(end);
  }

  /// In `list.0.1` the digits are items, not a float.
  bool after_dot() const { return at_ > 0 && source_[at_ - 1] == '.'; }

  void string(char quote) {
    std::string value;
    std::size_t at = at_ + 1;
    while (true) {
      if (at >= source_.size()) error("string without its end");
      const char c = source_[at];
      if (c == quote) break;
      if (c != '\\') {
        value += c;
        ++at;
      } else {
        if (at + 1 >= source_.size()) error("string without its end");
        at = escape(at + 1, value);
      }
    }
    add(TokenKind::kString, std::move(value));
    advance(at + 1);
  }

  /// The escape whose letter is at `at`; returns where the string goes on.
  std::size_t escape(std::size_t at, std::string& out) const {
    constexpr std::string_view kLetters = "abfnrtv\\'\"";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"";
    const char c = source_[at];
    if (const std::size_t known = kLetters.find(c); known != std::string_view::npos) {
      out += kValues[known];
      return at + 1;
    }
    if (c == '\n') return at + 1;
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    std::uint32_t scalar = 0;
    if (digits > 0) {
      const std::string_view text = std::string_view(source_).substr(at + 1, digits);
      const auto result = std::from_chars(text.data(), text.data() + text.size(), scalar, 16);
      const bool surrogate = scalar >= 0xD800 && scalar < 0xE000;
      if (text.size() != digits || result.ptr != text.data() + digits || scalar > 0x10FFFF || surrogate) {
        error("bad \\x, \\u or \\U escape in a string");
      }
      text::append_utf8(out, scalar);
      return at + 1 + digits;
    }
    if (c >= '0' && c <= '7') {
      std::size_t end = at;
      while (end < at + 3 && end < source_.size() && source_[end] >= '0' && source_[end] <= '7') {
        scalar = scalar * 8 + static_cast<std::uint32_t>(source_[end++] - '0');
      }
      text::append_utf8(out, scalar);
      return end;
    }
    if (c == 'N') error("\\N escapes are not supported");
    out += '\\';
    return at;
  }

  std::string source_;
  const std::string& name_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
};

}  // namespace

bool is_python_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    const text::Scalar last = text::scalar_before(text, text.size());
    if (!is_python_space(last.value)) break;
    text.remove_suffix(last.bytes);
  }
  return text;
}

std::string_view strip_left(std::string_view text) {
  while (!text.empty()) {
    const text::Scalar first = text::scalar_at(text, 0);
    if (!is_python_space(first.value)) break;
    text.remove_prefix(first.bytes);
  }
  return text;
}

std::vector<Token> tokenize(std::string_view source, const std::string& name) {
  if (source.size() > kMaxSourceBytes) {
    fail(ErrorCode::kCorruptFile, "{}: {} bytes of template, expected at most {}", name, source.size(),
         kMaxSourceBytes);
  }
  if (const std::size_t valid = text::valid_utf8_prefix(source); valid != source.size()) {
    fail(ErrorCode::kCorruptFile, "{}: not valid UTF-8 at byte {}", name, valid);
  }
  return Lexer(normalized(source), name).run();
}

}  // namespace awq::templates
