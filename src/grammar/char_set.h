#pragma once

#include <string_view>
#include <vector>

namespace awq::grammar {

struct CharRange {
  char32_t first = 0;
  char32_t last = 0;  ///< inclusive
};

/// A set of Unicode scalars: sorted ranges that neither touch nor overlap, surrogates left out.
class CharSet {
 public:
  CharSet() = default;
  explicit CharSet(std::vector<CharRange> ranges);
  static CharSet one(char32_t c) { return CharSet({{c, c}}); }
  static CharSet all() { return CharSet({{0, 0x10FFFF}}); }

  const std::vector<CharRange>& ranges() const { return ranges_; }
  bool empty() const { return ranges_.empty(); }
  bool contains(char32_t c) const;
  CharSet complement() const;
  CharSet united(const CharSet& other) const;
  CharSet without(const CharSet& other) const;

 private:
  std::vector<CharRange> ranges_;
};

struct ByteRange {
  unsigned char first = 0;
  unsigned char last = 0;
};

/// The UTF-8 of the set: each row is a sequence of byte ranges, and every way through a row is the UTF-8 of a member.
std::vector<std::vector<ByteRange>> utf8_rows(const CharSet& set);

}  // namespace awq::grammar
