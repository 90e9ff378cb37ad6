#include "grammar/char_set.h"

#include <algorithm>
#include <string>

#include "text/utf8.h"

namespace awq::grammar {
namespace {

constexpr char32_t kLastScalar = 0x10FFFF;

/// Splits until all scalars of a piece have the same length, and all bytes but one prefix are full ranges.
void add_rows(char32_t first, char32_t last, std::vector<std::vector<ByteRange>>& rows) {
  constexpr char32_t kLengthEnds[] = {0x7F, 0x7FF, 0xFFFF, kLastScalar};
  for (const char32_t end : kLengthEnds) {
    if (first <= end && last > end) {
      add_rows(first, end, rows);
      add_rows(end + 1, last, rows);
      return;
    }
  }
  const int bytes = last <= 0x7F ? 1 : last <= 0x7FF ? 2 : last <= 0xFFFF ? 3 : 4;
  for (int i = 1; i < bytes; ++i) {
    const char32_t mask = (char32_t{1} << (6 * i)) - 1;
    if ((first & ~mask) == (last & ~mask)) continue;
    if ((first & mask) != 0) {
      add_rows(first, first | mask, rows);
      add_rows((first | mask) + 1, last, rows);
      return;
    }
    if ((last & mask) != mask) {
      add_rows(first, (last & ~mask) - 1, rows);
      add_rows(last & ~mask, last, rows);
      return;
    }
  }
  std::string low;
  std::string high;
  text::append_utf8(low, first);
  text::append_utf8(high, last);
  std::vector<ByteRange> row;
  for (std::size_t i = 0; i < low.size(); ++i) {
    row.push_back({static_cast<unsigned char>(low[i]), static_cast<unsigned char>(high[i])});
  }
  rows.push_back(std::move(row));
}

}  // namespace

CharSet::CharSet(std::vector<CharRange> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const CharRange& a, const CharRange& b) { return a.first < b.first; });
  for (CharRange range : ranges) {
    range.last = std::min(range.last, kLastScalar);
    if (range.first > range.last) continue;
    // Surrogates are no scalars.
    if (range.first < 0xD800 && range.last > 0xDFFF) {
      ranges_.push_back({range.first, 0xD7FF});
      range.first = 0xE000;
    }
    if (range.first >= 0xD800 && range.first <= 0xDFFF) range.first = 0xE000;
    if (range.last >= 0xD800 && range.last <= 0xDFFF) range.last = 0xD7FF;
    if (range.first > range.last) continue;
    ranges_.push_back(range);
  }
  std::sort(ranges_.begin(), ranges_.end(), [](const CharRange& a, const CharRange& b) { return a.first < b.first; });
  std::vector<CharRange> merged;
  for (const CharRange& range : ranges_) {
    if (!merged.empty() && range.first <= merged.back().last + 1) {
      merged.back().last = std::max(merged.back().last, range.last);
    } else {
      merged.push_back(range);
    }
  }
  ranges_ = std::move(merged);
}

bool CharSet::contains(char32_t c) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const CharRange& range) { return c >= range.first && c <= range.last; });
}

CharSet CharSet::complement() const {
  std::vector<CharRange> out;
  char32_t next = 0;
  for (const CharRange& range : ranges_) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kLastScalar) out.push_back({next, kLastScalar});
  return CharSet(std::move(out));
}

CharSet CharSet::united(const CharSet& other) const {
  std::vector<CharRange> out = ranges_;
  out.insert(out.end(), other.ranges_.begin(), other.ranges_.end());
  return CharSet(std::move(out));
}

CharSet CharSet::without(const CharSet& other) const { return complement().united(other).complement(); }

std::vector<std::vector<ByteRange>> utf8_rows(const CharSet& set) {
  std::vector<std::vector<ByteRange>> rows;
  for (const CharRange& range : set.ranges()) add_rows(range.first, range.last, rows);
  return rows;
}

}  // namespace awq::grammar
