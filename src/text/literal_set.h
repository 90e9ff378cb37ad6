#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace awq::text {

/// Finds the leftmost, then longest, of many literal strings. Sorted strings serve as the trie: a prefix is a range of
/// them, and each further byte narrows the range by two binary searches.
class LiteralSet {
 public:
  /// A cap because a failed attempt at one position may read this far: search takes O(text * longest literal).
  static constexpr std::size_t kMaxLength = 512;

  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t index = 0;  ///< into the strings given
  };

  LiteralSet() = default;
  /// `sorted` holds different, non-empty strings in byte order.
  explicit LiteralSet(std::vector<std::string> sorted);

  bool empty() const { return literals_.empty(); }
  std::optional<Match> find(std::string_view text, std::size_t from) const;

 private:
  std::optional<Match> match_at(std::string_view text, std::size_t at) const;

  struct Range {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  std::vector<std::string> literals_;
  std::array<Range, 256> by_first_byte_{};
};

}  // namespace awq::text
