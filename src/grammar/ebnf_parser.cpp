#include "grammar/ebnf_parser.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "base/check.h"
#include "text/utf8.h"

namespace awq::grammar {
namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

class EbnfParser {
 public:
  EbnfParser(std::string_view source, const GrammarLimits& limits) : source_(source), grammar_(limits) {
    if (source.size() > limits.source_bytes) {
      grammar_error(fmt::format("grammar of {} bytes: expected at most {}", source.size(), limits.source_bytes));
    }
    if (text::valid_utf8_prefix(source) != source.size()) grammar_error("grammar: not valid UTF-8");
  }

  Grammar run() {
    rule_id("root");
    skip_blank();
    while (at_ < source_.size()) {
      const std::string name = read_name();
      skip_blank();
      if (!skip("::=") && !skip("=")) error("expected '::='");
      const RuleId id = rule_id(name);
      if (grammar_.rules()[id].body >= 0) error(fmt::format("rule \"{}\" is defined twice", name));
      const NodeId body = alternatives();
      grammar_.define(id, body);
      skip_blank();
      if (skip(";")) skip_blank();
    }
    if (grammar_.rules()[0].body < 0) grammar_error("grammar: there is no rule \"root\"");
    return std::move(grammar_);
  }

 private:
  [[noreturn]] void error(const std::string& message) const {
    const auto end = source_.begin() + static_cast<std::ptrdiff_t>(std::min(at_, source_.size()));
    grammar_error(fmt::format("grammar, line {}: {}", 1 + std::count(source_.begin(), end, '\n'), message));
  }

  char peek() const { return at_ < source_.size() ? source_[at_] : '\0'; }
  bool skip(std::string_view text) {
    if (source_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }
  void skip_blank() {
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (c == '#') {
        at_ = std::min(source_.find('\n', at_), source_.size());
      } else if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        ++at_;
      } else {
        break;
      }
    }
  }

  std::string read_name() {
    const std::size_t begin = at_;
    while (at_ < source_.size() && is_name_char(source_[at_])) ++at_;
    if (begin == at_) error(fmt::format("found '{}', expected a rule name", printable(source_.substr(at_, 1))));
    if (at_ - begin > 200) error("a rule name of more than 200 characters");
    return std::string(source_.substr(begin, at_ - begin));
  }

  RuleId rule_id(const std::string& name) {
    const auto [known, fresh] = ids_.try_emplace(name, 0);
    if (fresh) known->second = grammar_.declare(name);
    return known->second;
  }

  /// A name that is followed by ::= begins the next rule.
  bool at_next_rule() {
    const std::size_t keep = at_;
    bool found = false;
    if (is_name_char(peek())) {
      while (is_name_char(peek())) ++at_;
      skip_blank();
      found = source_.substr(at_, 3) == "::=";
    }
    at_ = keep;
    return found;
  }

  NodeId alternatives() {
    if (++depth_ > grammar_.limits().depth) error("nested too deeply");
    std::vector<NodeId> parts;
    do {
      parts.push_back(sequence());
      skip_blank();
    } while (skip("|"));
    --depth_;
    return grammar_.choice(std::move(parts));
  }

  NodeId sequence() {
    std::vector<NodeId> parts;
    while (true) {
      skip_blank();
      const char c = peek();
      if (at_ >= source_.size() || c == '|' || c == ')' || c == ';' || at_next_rule()) break;
      parts.push_back(quantified(element()));
    }
    return parts.empty() ? grammar_.empty() : grammar_.sequence(std::move(parts));
  }

  NodeId element() {
    const char c = peek();
    if (c == '"' || c == '\'') return literal(c);
    if (c == '[') return char_class();
    if (skip(".")) return grammar_.char_class(CharSet::all());
    if (skip("(")) {
      const NodeId inner = alternatives();
      skip_blank();
      if (!skip(")")) error("expected ')'");
      return inner;
    }
    return grammar_.rule(rule_id(read_name()));
  }

  std::int64_t number() {
    std::int64_t out = 0;
    skip_blank();
    const auto result = std::from_chars(source_.data() + at_, source_.data() + source_.size(), out);
    if (result.ec != std::errc() || out < 0) error("expected a count");
    at_ = static_cast<std::size_t>(result.ptr - source_.data());
    skip_blank();
    return out;
  }

  NodeId quantified(NodeId part) {
    while (true) {
      std::int64_t min = 0;
      std::int64_t max = kUnbounded;
      if (skip("+")) {
        min = 1;
      } else if (skip("?")) {
        max = 1;
      } else if (skip("{")) {
        skip_blank();
        if (peek() != ',') min = number();
        max = min;
        if (skip(",")) {
          skip_blank();
          max = peek() == '}' ? kUnbounded : number();
        }
        if (!skip("}")) error("expected '}'");
        if (max != kUnbounded && max < min) error("the counts are out of order");
      } else if (!skip("*")) {
        return part;
      }
      part = grammar_.repeat(part, min, max);
    }
  }

  char32_t character() {
    if (!skip("\\")) {
      const text::Scalar scalar = text::scalar_at(source_, at_);
      at_ += scalar.bytes;
      return scalar.value;
    }
    if (at_ >= source_.size()) error("a backslash at the end");
    const char c = source_[at_++];
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0) {
      std::uint32_t value = 0;
      const std::string_view text = source_.substr(at_, digits);
      const auto result = std::from_chars(text.data(), text.data() + text.size(), value, 16);
      const bool surrogate = value >= 0xD800 && value < 0xE000;
      if (text.size() != digits || result.ptr != text.data() + digits || value > 0x10FFFF || surrogate) {
        error("expected the digits of a character");
      }
      at_ += digits;
      return value;
    }
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      default:
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
          error(fmt::format("unknown escape \\{}", c));
        }
        --at_;
        const text::Scalar scalar = text::scalar_at(source_, at_);
        at_ += scalar.bytes;
        return scalar.value;
    }
  }

  NodeId literal(char quote) {
    ++at_;
    std::string out;
    while (peek() != quote) {
      if (at_ >= source_.size()) error("a text without its end");
      text::append_utf8(out, character());
    }
    ++at_;
    return grammar_.text(std::move(out));
  }

  NodeId char_class() {
    ++at_;
    const bool negated = skip("^");
    std::vector<CharRange> ranges;
    while (peek() != ']') {
      if (at_ >= source_.size()) error("a class without its end");
      const char32_t first = character();
      char32_t last = first;
      if (peek() == '-' && at_ + 1 < source_.size() && source_[at_ + 1] != ']') {
        ++at_;
        if (at_ >= source_.size()) error("a class without its end");
        last = character();
      }
      if (last < first) error("the range is out of order");
      ranges.push_back({first, last});
    }
    ++at_;
    const CharSet set(std::move(ranges));
    return grammar_.char_class(negated ? set.complement() : set);
  }

  std::string_view source_;
  Grammar grammar_;
  std::map<std::string, RuleId> ids_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

Grammar parse_ebnf(std::string_view source, const GrammarLimits& limits) { return EbnfParser(source, limits).run(); }

}  // namespace awq::grammar
