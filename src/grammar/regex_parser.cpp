#include "grammar/regex_parser.h"

#include <charconv>

#include "base/check.h"
#include "text/utf8.h"

namespace awq::grammar {
namespace {

const CharSet& digits() {
  static const CharSet set({{'0', '9'}});
  return set;
}
const CharSet& word() {
  static const CharSet set({{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}});
  return set;
}
const CharSet& space() {
  static const CharSet set({{'\t', '\r'}, {' ', ' '}, {0xA0, 0xA0}, {0x2028, 0x2029}, {0xFEFF, 0xFEFF}});
  return set;
}

class RegexParser {
 public:
  RegexParser(Grammar& grammar, std::string_view pattern, const ClassWriter& write)
      : grammar_(grammar), pattern_(pattern), write_(write) {
    if (pattern.size() > grammar.limits().source_bytes) {
      grammar_error(
          fmt::format("regex of {} bytes: expected at most {}", pattern.size(), grammar.limits().source_bytes));
    }
    if (text::valid_utf8_prefix(pattern) != pattern.size()) grammar_error("regex: not valid UTF-8");
  }

  NodeId parse(RegexAnchors anchors) {
    search_ = anchors == RegexAnchors::kSearch;
    const NodeId out = alternatives(true);
    if (at_ < pattern_.size()) error("unexpected ')'");
    return out;
  }

 private:
  [[noreturn]] void error(const std::string& message) const {
    grammar_error(fmt::format("regex at character {}: {}", at_, message));
  }

  bool more() const { return at_ < pattern_.size(); }
  char peek() const { return more() ? pattern_[at_] : '\0'; }
  bool skip(std::string_view text) {
    if (pattern_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }

  NodeId anything() { return grammar_.repeat(write_(grammar_, CharSet::all()), 0, kUnbounded); }

  NodeId alternatives(bool outermost) {
    if (++depth_ > grammar_.limits().depth) error("nested too deeply");
    std::vector<NodeId> parts;
    do {
      parts.push_back(branch(outermost));
    } while (skip("|"));
    --depth_;
    return grammar_.choice(std::move(parts));
  }

  /// In the outermost branches ^ and $ are meaningful at their ends.
  NodeId branch(bool outermost) {
    std::vector<NodeId> parts;
    const bool tied_begin = outermost && skip("^");
    bool tied_end = false;
    if (outermost && search_ && !tied_begin) parts.push_back(anything());
    while (more() && peek() != '|' && peek() != ')') {
      if (outermost && peek() == '$' && (at_ + 1 == pattern_.size() || pattern_[at_ + 1] == '|')) {
        ++at_;
        tied_end = true;
        break;
      }
      parts.push_back(quantified(atom()));
    }
    if (outermost && search_ && !tied_end) parts.push_back(anything());
    if (parts.empty()) return grammar_.empty();
    return grammar_.sequence(std::move(parts));
  }

  std::int64_t number() {
    std::int64_t out = 0;
    const auto result = std::from_chars(pattern_.data() + at_, pattern_.data() + pattern_.size(), out);
    if (result.ec != std::errc() || !(peek() >= '0' && peek() <= '9')) error("expected a number");
    at_ = static_cast<std::size_t>(result.ptr - pattern_.data());
    return out;
  }

  NodeId quantified(NodeId part) {
    bool first = true;
    while (more()) {
      std::int64_t min = 0;
      std::int64_t max = kUnbounded;
      if (skip("+")) {
        min = 1;
      } else if (skip("?")) {
        max = 1;
      } else if (peek() == '{' && at_ + 1 < pattern_.size() &&
                 ((pattern_[at_ + 1] >= '0' && pattern_[at_ + 1] <= '9') || pattern_[at_ + 1] == ',')) {
        ++at_;
        if (peek() != ',') min = number();
        max = min;
        if (skip(",")) max = peek() == '}' ? kUnbounded : number();
        if (!skip("}")) error("expected '}'");
        if (max != kUnbounded && max < min) error("the counts are out of order");
      } else if (!skip("*")) {
        return part;
      }
      if (!first) error("a quantifier after a quantifier");
      first = false;
      part = grammar_.repeat(part, min, max);
      if (skip("?")) continue;  // lazy: the same texts
      if (peek() == '+') error("possessive quantifiers are not supported");
    }
    return part;
  }

  NodeId atom() {
    const char c = peek();
    if (c == '(') return group();
    if (c == '[') return write_(grammar_, bracket());
    if (c == '.') {
      ++at_;
      return write_(grammar_, CharSet::one('\n').complement());
    }
    if (c == '*' || c == '+' || c == '?') error("a quantifier with nothing before it");
    if (c == '^' || c == '$') error("anchors are supported at the ends only");
    if (c == '\\') {
      ++at_;
      return write_(grammar_, escape(false));
    }
    const text::Scalar scalar = text::scalar_at(pattern_, at_);
    at_ += scalar.bytes;
    return write_(grammar_, CharSet::one(scalar.value));
  }

  NodeId group() {
    ++at_;
    if (skip("?")) {
      if (!skip(":")) {
        const bool named = skip("P<") || (peek() == '<' && pattern_.substr(at_, 2) != "<=" &&
                                          pattern_.substr(at_, 2) != "<!" && skip("<"));
        if (!named) error("looking around, flags and conditions are not supported");
        const std::size_t end = pattern_.find('>', at_);
        if (end == std::string_view::npos) error("expected '>'");
        at_ = end + 1;
      }
    }
    const NodeId inner = alternatives(false);
    if (!skip(")")) error("expected ')'");
    return inner;
  }

  char32_t hex(std::size_t digits) {
    std::uint32_t out = 0;
    const std::string_view text = pattern_.substr(at_, digits);
    const auto result = std::from_chars(text.data(), text.data() + text.size(), out, 16);
    if (text.size() != digits || result.ptr != text.data() + text.size()) error("expected hexadecimal digits");
    at_ += digits;
    return out;
  }

  /// After the backslash.
  CharSet escape(bool in_bracket) {
    if (!more()) error("a backslash at the end");
    const char c = pattern_[at_];
    ++at_;
    switch (c) {
      case 'd':
        return digits();
      case 'D':
        return digits().complement();
      case 'w':
        return word();
      case 'W':
        return word().complement();
      case 's':
        return space();
      case 'S':
        return space().complement();
      case 'n':
        return CharSet::one('\n');
      case 'r':
        return CharSet::one('\r');
      case 't':
        return CharSet::one('\t');
      case 'f':
        return CharSet::one('\f');
      case 'v':
        return CharSet::one('\v');
      case '0':
        return CharSet::one(0);
      case 'x':
        return CharSet::one(hex(2));
      case 'u': {
        char32_t value = 0;
        if (skip("{")) {
          const std::size_t end = pattern_.find('}', at_);
          if (end == std::string_view::npos || end == at_ || end - at_ > 6) error("expected a code point");
          value = hex(end - at_);
          ++at_;
        } else {
          value = hex(4);
          if (value >= 0xD800 && value < 0xDC00 && skip("\\u")) {
            const char32_t low = hex(4);
            value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
          }
        }
        if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) error("not a character");
        return CharSet::one(value);
      }
      case 'b':
        if (in_bracket) return CharSet::one('\b');
        break;
      default:
        break;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9')) {
      error(fmt::format("\\{} is not supported", c));
    }
    --at_;
    const text::Scalar scalar = text::scalar_at(pattern_, at_);
    at_ += scalar.bytes;
    return CharSet::one(scalar.value);
  }

  CharSet bracket() {
    ++at_;
    const bool negated = skip("^");
    std::vector<CharRange> ranges;
    bool first = true;
    while (true) {
      if (!more()) error("expected ']'");
      if (peek() == ']' && !first) break;
      first = false;
      if (pattern_.substr(at_, 2) == "[:") error("POSIX classes are not supported");
      const CharSet low = bracket_item();
      const bool is_range = peek() == '-' && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']';
      if (!is_range) {
        ranges.insert(ranges.end(), low.ranges().begin(), low.ranges().end());
        continue;
      }
      ++at_;
      const CharSet high = bracket_item();
      const auto single = [](const CharSet& set) {
        return set.ranges().size() == 1 && set.ranges()[0].first == set.ranges()[0].last;
      };
      if (!single(low) || !single(high)) error("a class cannot be the end of a range");
      if (low.ranges()[0].first > high.ranges()[0].first) error("the range is out of order");
      ranges.push_back({low.ranges()[0].first, high.ranges()[0].first});
    }
    ++at_;
    const CharSet set(std::move(ranges));
    return negated ? set.complement() : set;
  }

  CharSet bracket_item() {
    if (!more()) error("expected ']'");
    if (skip("\\")) return escape(true);
    const text::Scalar scalar = text::scalar_at(pattern_, at_);
    at_ += scalar.bytes;
    return CharSet::one(scalar.value);
  }

  Grammar& grammar_;
  std::string_view pattern_;
  const ClassWriter& write_;
  std::size_t at_ = 0;
  int depth_ = 0;
  bool search_ = false;
};

}  // namespace

NodeId write_plain(Grammar& grammar, const CharSet& set) { return grammar.char_class(set); }

NodeId parse_regex(Grammar& grammar, std::string_view pattern, RegexAnchors anchors, const ClassWriter& write) {
  return RegexParser(grammar, pattern, write).parse(anchors);
}

}  // namespace awq::grammar
