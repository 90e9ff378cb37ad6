#include "text/literal_set.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace awq::text {

LiteralSet::LiteralSet(std::vector<std::string> sorted) : literals_(std::move(sorted)) {
  for (std::size_t i = 0; i < literals_.size(); ++i) {
    AWQ_CHECK(!literals_[i].empty() && (i == 0 || literals_[i - 1] < literals_[i]));
    Range& range = by_first_byte_[static_cast<unsigned char>(literals_[i][0])];
    if (range.end == 0) range.begin = i;
    range.end = i + 1;
  }
}

std::optional<LiteralSet::Match> LiteralSet::find(std::string_view text, std::size_t from) const {
  if (literals_.empty()) return std::nullopt;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (by_first_byte_[static_cast<unsigned char>(text[at])].end == 0) continue;
    if (const std::optional<Match> match = match_at(text, at)) return match;
  }
  return std::nullopt;
}

std::optional<LiteralSet::Match> LiteralSet::match_at(std::string_view text, std::size_t at) const {
  Range range = by_first_byte_[static_cast<unsigned char>(text[at])];
  std::optional<Match> best;
  for (std::size_t depth = 1; range.begin < range.end; ++depth) {
    // All of the range share the first `depth` bytes with the text; the shortest of them comes first.
    if (literals_[range.begin].size() == depth) best = Match{at, at + depth, range.begin++};
    if (range.begin == range.end || at + depth == text.size()) break;
    const unsigned char next = static_cast<unsigned char>(text[at + depth]);
    const auto byte_at = [&](const std::string& literal) { return static_cast<unsigned char>(literal[depth]); };
    const auto first = literals_.begin() + static_cast<std::ptrdiff_t>(range.begin);
    const auto last = literals_.begin() + static_cast<std::ptrdiff_t>(range.end);
    const auto low =
        std::lower_bound(first, last, next, [&](const std::string& l, unsigned char b) { return byte_at(l) < b; });
    const auto high =
        std::upper_bound(low, last, next, [&](unsigned char b, const std::string& l) { return b < byte_at(l); });
    range = {static_cast<std::size_t>(low - literals_.begin()), static_cast<std::size_t>(high - literals_.begin())};
  }
  return best;
}

}  // namespace awq::text
