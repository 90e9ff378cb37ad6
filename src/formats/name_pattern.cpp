#include "formats/name_pattern.h"

#include "base/check.h"

namespace awq::formats {
namespace {

constexpr std::size_t kMaxPattern = 4096;
constexpr int kMaxDepth = 32;

}  // namespace

/// Recursive descent over the pattern. Every function returns a part whose ends are still open; who puts parts together
/// connects them.
class NamePatternParser {
 public:
  NamePatternParser(std::string_view pattern, NamePattern& out) : pattern_(pattern), out_(out) {}

  void run() {
    if (pattern_.size() > kMaxPattern) unknown(fmt::format("more than {} bytes", kMaxPattern));
    const Part whole = alternatives(0);
    if (at_ < pattern_.size()) unknown("a ) without its (");
    const std::size_t accept = add({.kind = NamePattern::Kind::kAccept});
    connect(whole, accept);
    out_.start_ = whole.first;
  }

 private:
  using Kind = NamePattern::Kind;

  /// A piece of the automaton: where it begins, and the states whose `next` (or `other`) is still open.
  struct Part {
    std::size_t first = 0;
    std::vector<std::pair<std::size_t, bool>> open;
  };

  [[noreturn]] void unknown(const std::string& what) const {
    fail(ErrorCode::kUnsupported, "\"re:{}\": {} at byte {} cannot be read", printable(std::string(pattern_), 60), what,
         at_);
  }

  std::size_t add(NamePattern::State state) {
    out_.states_.push_back(std::move(state));
    return out_.states_.size() - 1;
  }

  void connect(const Part& part, std::size_t to) {
    for (const auto& [state, other] : part.open) (other ? out_.states_[state].other : out_.states_[state].next) = to;
  }

  bool more() const { return at_ < pattern_.size(); }
  char peek() const { return pattern_[at_]; }

  /// A state that goes on without reading: where an empty alternative begins and ends.
  Part nothing() {
    const std::size_t state = add({.kind = Kind::kSplit});
    return {state, {{state, false}, {state, true}}};
  }

  Part alternatives(int depth) {
    if (depth > kMaxDepth) unknown(fmt::format("groups more than {} deep", kMaxDepth));
    Part left = sequence(depth);
    while (more() && peek() == '|') {
      ++at_;
      Part right = sequence(depth);
      const std::size_t split = add({.kind = Kind::kSplit, .next = left.first, .other = right.first});
      left.first = split;
      left.open.insert(left.open.end(), right.open.begin(), right.open.end());
    }
    return left;
  }

  Part sequence(int depth) {
    Part whole = nothing();
    while (more() && peek() != '|' && peek() != ')') {
      Part next = repeated(depth);
      connect(whole, next.first);
      whole.open = std::move(next.open);
    }
    return whole;
  }

  Part repeated(int depth) {
    Part part = single(depth);
    if (!more() || (peek() != '*' && peek() != '+' && peek() != '?')) return part;
    const char how = pattern_[at_++];
    if (more() && (peek() == '*' || peek() == '+' || peek() == '?')) unknown("a second repetition");
    const std::size_t split = add({.kind = Kind::kSplit, .next = part.first});
    if (how == '?') {
      part.open.emplace_back(split, true);
      return {split, std::move(part.open)};
    }
    connect(part, split);
    return {how == '*' ? split : part.first, {{split, true}}};
  }

  Part single(int depth) {
    const char c = pattern_[at_];
    if (c == '(') return group(depth);
    if (c == '$' && at_ + 1 == pattern_.size()) {
      ++at_;
      const std::size_t state = add({.kind = Kind::kEnd});
      return {state, {{state, false}}};
    }
    if (c == '^' && at_ == 0) {  // where every match begins
      ++at_;
      return nothing();
    }
    if (c == '[') return bytes(set());
    if (c == '\\') return bytes(escape());
    if (c == '*' || c == '+' || c == '?' || c == '{' || c == '}' || c == '^' || c == '$')
      unknown(fmt::format("'{}'", c));
    ++at_;
    std::vector<bool> any(256, c == '.');
    any[static_cast<unsigned char>(c)] = true;
    if (c == '.') any['\n'] = false;
    return bytes(std::move(any));
  }

  Part bytes(std::vector<bool> those) {
    const std::size_t state = add({.kind = Kind::kBytes, .bytes = std::move(those)});
    return {state, {{state, false}}};
  }

  Part group(int depth) {
    ++at_;
    if (pattern_.substr(at_).starts_with("?:")) {
      at_ += 2;
    } else if (more() && peek() == '?') {
      unknown("a (? group");
    }
    Part inner = alternatives(depth + 1);
    if (!more()) unknown("a ( without its )");
    ++at_;
    return inner;
  }

  std::vector<bool> escape() {
    if (++at_ == pattern_.size()) unknown("a \\ at the end");
    const char c = pattern_[at_++];
    std::vector<bool> out(256, false);
    const auto span = [&](char from, char to) {
      for (int i = from; i <= to; ++i) out[static_cast<std::size_t>(i)] = true;
    };
    if (c == 'd' || c == 'w') span('0', '9');
    if (c == 'w') {
      span('a', 'z');
      span('A', 'Z');
      span('_', '_');
    } else if (c != 'd') {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      if (letter) unknown(fmt::format("the escape \\{}", c));
      out[static_cast<unsigned char>(c)] = true;
    }
    return out;
  }

  std::vector<bool> set() {
    ++at_;
    const bool negated = more() && peek() == '^';
    if (negated) ++at_;
    std::vector<bool> out(256, false);
    bool first = true;
    while (more() && (peek() != ']' || first)) {
      first = false;
      if (peek() == '\\') {
        const std::vector<bool> escaped = escape();
        for (std::size_t i = 0; i < out.size(); ++i) out[i] = out[i] || escaped[i];
        continue;
      }
      const auto from = static_cast<unsigned char>(pattern_[at_++]);
      auto to = from;
      if (at_ + 1 < pattern_.size() && peek() == '-' && pattern_[at_ + 1] != ']') {
        to = static_cast<unsigned char>(pattern_[at_ + 1]);
        at_ += 2;
        if (to < from) unknown("a range that runs backwards");
      }
      for (std::size_t i = from; i <= to; ++i) out[i] = true;
    }
    if (!more()) unknown("a [ without its ]");
    ++at_;
    if (negated) out.flip();
    return out;
  }

  std::string_view pattern_;
  NamePattern& out_;
  std::size_t at_ = 0;
};

NamePattern::NamePattern(std::string_view pattern) { NamePatternParser(pattern, *this).run(); }

void NamePattern::enter(std::size_t state, bool at_end, std::vector<bool>& active) const {
  std::vector<std::size_t> waiting = {state};
  while (!waiting.empty()) {
    const std::size_t at = waiting.back();
    waiting.pop_back();
    if (active[at]) continue;
    active[at] = true;
    const State& s = states_[at];
    if (s.kind == Kind::kSplit || (s.kind == Kind::kEnd && at_end)) waiting.push_back(s.next);
    if (s.kind == Kind::kSplit) waiting.push_back(s.other);
  }
}

bool NamePattern::matches(std::string_view name) const {
  std::vector<bool> active(states_.size());
  enter(start_, name.empty(), active);
  const std::size_t accept = states_.size() - 1;
  for (std::size_t i = 0; i < name.size() && !active[accept]; ++i) {
    std::vector<bool> next(states_.size());
    for (std::size_t s = 0; s < states_.size(); ++s) {
      if (active[s] && states_[s].kind == Kind::kBytes && states_[s].bytes[static_cast<unsigned char>(name[i])])
        enter(states_[s].next, i + 1 == name.size(), next);
    }
    active = std::move(next);
  }
  return active[accept];
}

}  // namespace awq::formats
