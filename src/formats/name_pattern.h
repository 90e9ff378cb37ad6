#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace awq::formats {

/// The regular expressions that configurations name modules with ("re:.*self_attn\.(q|k)_proj$"), as Python's
/// re.match() takes them: from the first byte of the name, not always to its end. Known are bytes, '.', escapes of
/// punctuation and \d \w, sets [a-z], groups (..), (?:..), '|', '*', '+', '?', and '^' and '$' at the ends. A match
/// takes time proportional to pattern times name, whatever the pattern.
class NamePattern {
 public:
  /// Throws kUnsupported, saying what in the pattern is not known.
  explicit NamePattern(std::string_view pattern);

  bool matches(std::string_view name) const;

 private:
  friend class NamePatternParser;

  enum class Kind : std::uint8_t { kBytes, kSplit, kEnd, kAccept };
  struct State {
    Kind kind = Kind::kAccept;
    std::vector<bool> bytes;  ///< [256] of kBytes
    std::size_t next = 0, other = 0;
  };

  void enter(std::size_t state, bool at_end, std::vector<bool>& active) const;

  std::vector<State> states_;  ///< of an automaton in Thompson's form
  std::size_t start_ = 0;
};

}  // namespace awq::formats
