#include "text/known_patterns.h"

#include "text/unicode.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

struct Char {
  unsigned klass = 0;
  unsigned bytes = 1;
};

class Splitter {
 public:
  Splitter(std::string_view text, Span range) : text_(text.substr(0, range.end)), at_(range.begin) {}

  template <typename Next>
  void run(Next next, std::vector<Span>& out) {
    while (at_ < text_.size()) {
      const std::size_t end = (this->*next)();
      out.push_back({at_, end});
      at_ = end;
    }
  }

  std::size_t next_gpt2() const {
    if (const std::size_t end = contraction(false)) return end;
    const Char first = char_at(at_);
    if ((first.klass & kSpaceClass) == 0) return skip(at_, first.klass);
    if (text_[at_] == ' ' && at_ + 1 < text_.size()) {
      const unsigned klass = char_at(at_ + 1).klass;
      if ((klass & kSpaceClass) == 0) return skip(at_ + 1, klass);
    }
    return space_run_end(false);
  }

  template <std::size_t kMaxDigits>
  std::size_t next_llama3() const {
    if (const std::size_t end = contraction(true)) return end;
    const Char first = char_at(at_);
    if (first.klass == kLetterClass) return skip(at_, kLetterClass);
    if (first.klass == kNumberClass) return digits(first, kMaxDigits);
    const std::size_t second = at_ + first.bytes;
    // Anything but CR and LF may lead a word.
    if ((first.klass & kNewlineClass) == 0 && second < text_.size() && char_at(second).klass == kLetterClass) {
      return skip(second, kLetterClass);
    }
    if (first.klass == 0) return skip_newlines(skip(at_, 0));
    if (text_[at_] == ' ' && second < text_.size() && char_at(second).klass == 0) {
      return skip_newlines(skip(second, 0));
    }
    return space_run_end(true);
  }

 private:
  Char char_at(std::size_t at) const {
    const unsigned char byte = static_cast<unsigned char>(text_[at]);
    if (byte < 0x80) return {kAsciiClasses[byte], 1};
    const Scalar scalar = scalar_at(text_, at);
    return {wide_char_class(scalar.value), scalar.bytes};
  }

  /// End of the run of characters of exactly this class.
  std::size_t skip(std::size_t at, unsigned klass) const {
    while (at < text_.size()) {
      const Char next = char_at(at);
      if (next.klass != klass) break;
      at += next.bytes;
    }
    return at;
  }

  std::size_t skip_newlines(std::size_t at) const {
    while (at < text_.size() && (text_[at] == '\r' || text_[at] == '\n')) ++at;
    return at;
  }

  std::size_t digits(const Char& first, std::size_t max) const {
    std::size_t at = at_ + first.bytes;
    for (std::size_t count = 1; count < max && at < text_.size(); ++count) {
      const Char next = char_at(at);
      if (next.klass != kNumberClass) break;
      at += next.bytes;
    }
    return at;
  }

  /// End of 's 't 're 've 'm 'll 'd at the current place, or 0.
  std::size_t contraction(bool any_case) const {
    if (text_[at_] != '\'') return 0;
    const auto letter = [&](std::size_t i) {
      const char c = at_ + i < text_.size() ? text_[at_ + i] : '\0';
      return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    };
    const char first = letter(1);
    const char second = letter(2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at_ + 2;
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) {
      return at_ + 3;
    }
    // Unicode folds the long s, U+017F, to s.
    if (any_case && text_.substr(at_ + 1).starts_with("\xC5\xBF")) return at_ + 3;
    return 0;
  }

  /// \s*[\r\n]+ (where `stop_at_newline`), then \s+(?!\S), then \s+, at a white space.
  std::size_t space_run_end(bool stop_at_newline) const {
    std::size_t end = at_;
    std::size_t last = at_;         // the last white space before `end`
    std::size_t after_newline = 0;  // behind the last CR or LF
    while (end < text_.size()) {
      const Char next = char_at(end);
      if ((next.klass & kSpaceClass) == 0) break;
      last = end;
      end += next.bytes;
      if ((next.klass & kNewlineClass) != 0) after_newline = end;
    }
    if (stop_at_newline && after_newline > 0) return after_newline;
    return end == text_.size() || last == at_ ? end : last;
  }

  std::string_view text_;
  std::size_t at_;
};

}  // namespace

std::optional<KnownPattern> find_known_pattern(std::string_view pattern) {
  if (pattern == kGpt2Pattern) return KnownPattern::kGpt2;
  if (pattern == kLlama3Pattern) return KnownPattern::kLlama3;
  if (pattern == kQwen2Pattern) return KnownPattern::kQwen2;
  return std::nullopt;
}

void split_by_known_pattern(KnownPattern pattern, std::string_view text, Span range, std::vector<Span>& out) {
  Splitter splitter(text, range);
  switch (pattern) {
    case KnownPattern::kGpt2:
      splitter.run(&Splitter::next_gpt2, out);
      return;
    case KnownPattern::kLlama3:
      splitter.run(&Splitter::next_llama3<3>, out);
      return;
    case KnownPattern::kQwen2:
      splitter.run(&Splitter::next_llama3<1>, out);
      return;
  }
}

}  // namespace awq::text
