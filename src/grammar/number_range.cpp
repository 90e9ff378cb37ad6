// Numbers within bounds, as expressions over their digits.

#include <algorithm>
#include <cstdint>

#include "grammar/json_rules.h"

namespace awq::grammar {
namespace {

NodeId digits_between(Grammar& g, char low, char high) {
  if (low == high) return g.text(std::string(1, low));
  return g.char_class(CharSet({{static_cast<char32_t>(low), static_cast<char32_t>(high)}}));
}

NodeId any_digits(Grammar& g, std::size_t count) {
  const auto n = static_cast<std::int64_t>(count);
  return count == 0 ? g.empty() : g.repeat(digits_between(g, '0', '9'), n, n);
}

/// Digit strings of one length from `low` to `high`.
NodeId same_length(Grammar& g, const std::string& low, const std::string& high) {
  if (low.empty()) return g.empty();
  const std::string low_rest = low.substr(1);
  const std::string high_rest = high.substr(1);
  if (low[0] == high[0]) return g.sequence({digits_between(g, low[0], low[0]), same_length(g, low_rest, high_rest)});
  const std::string zeros(low_rest.size(), '0');
  const std::string nines(low_rest.size(), '9');
  std::vector<NodeId> parts;
  char first = low[0];
  char last = high[0];
  if (low_rest != zeros) {
    parts.push_back(g.sequence({digits_between(g, first, first), same_length(g, low_rest, nines)}));
    ++first;
  }
  if (high_rest != nines) {
    parts.push_back(g.sequence({digits_between(g, last, last), same_length(g, zeros, high_rest)}));
    --last;
  }
  if (first <= last) parts.push_back(g.sequence({digits_between(g, first, last), any_digits(g, low_rest.size())}));
  return g.choice(std::move(parts));
}

NodeId natural_range(Grammar& g, std::uint64_t low, std::uint64_t high) {
  std::vector<NodeId> parts;
  const std::string low_text = std::to_string(low);
  const std::string high_text = std::to_string(high);
  for (std::size_t size = low_text.size(); size <= high_text.size(); ++size) {
    const std::string from = size == low_text.size() ? low_text : "1" + std::string(size - 1, '0');
    const std::string to = size == high_text.size() ? high_text : std::string(size, '9');
    parts.push_back(same_length(g, from, to));
  }
  return g.choice(std::move(parts));
}

std::uint64_t magnitude(std::int64_t value) {
  return value < 0 ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
}

/// Decimals of magnitude `low` to `high`; a bound that is open leaves out itself.
NodeId magnitudes(Grammar& g, std::uint64_t low, std::uint64_t high, bool low_open, bool high_open) {
  const NodeId digit = digits_between(g, '0', '9');
  const NodeId some = g.sequence({g.text("."), g.repeat(digit, 1, 17)});
  const NodeId nonzero =
      g.sequence({g.text("."), g.repeat(digit, 0, 8), digits_between(g, '1', '9'), g.repeat(digit, 0, 8)});
  const NodeId zero = g.sequence({g.text("."), g.repeat(g.text("0"), 1, 17)});
  std::vector<NodeId> parts;
  // Whole part below `high`: any fraction. At an open low bound the fraction must not be zero.
  if (low < high) {
    const NodeId at_low = g.text(std::to_string(low));
    parts.push_back(g.sequence({at_low, low_open ? nonzero : g.optional(some)}));
    if (low + 1 < high) parts.push_back(g.sequence({natural_range(g, low + 1, high - 1), g.optional(some)}));
  }
  if (!high_open && (low < high || !low_open)) {
    parts.push_back(g.sequence({g.text(std::to_string(high)), g.optional(zero)}));
  }
  return g.choice(std::move(parts));
}

}  // namespace

NodeId integer_range(Grammar& g, std::int64_t low, std::int64_t high) {
  std::vector<NodeId> parts;
  if (low < 0) {
    const std::int64_t top = std::min<std::int64_t>(high, -1);
    parts.push_back(g.sequence({g.text("-"), natural_range(g, magnitude(top), magnitude(low))}));
  }
  if (high >= 0) {
    parts.push_back(natural_range(g, magnitude(std::max<std::int64_t>(low, 0)), magnitude(high)));
  }
  return g.choice(std::move(parts));
}

NodeId number_range(Grammar& g, const NumberBounds& bounds) {
  constexpr std::int64_t kFar = 999'999'999'999'999;  // an open end: fifteen digits are exact in a double
  const std::int64_t low = bounds.low.value_or(std::min(-kFar, bounds.high.value_or(0)));
  const std::int64_t high = bounds.high.value_or(std::max(kFar, bounds.low.value_or(0)));
  std::vector<NodeId> parts;
  if (low > high) return g.nothing();
  if (low < 0) {
    const bool whole = high >= 0;  // the negative side reaches to zero, which is left to the other side
    parts.push_back(g.sequence({g.text("-"), magnitudes(g, whole ? 0 : magnitude(high), magnitude(low),
                                                        whole || bounds.high_open, bounds.low_open)}));
  }
  if (high > 0 || (high == 0 && !bounds.high_open && !(low == 0 && bounds.low_open))) {
    parts.push_back(magnitudes(g, magnitude(std::max<std::int64_t>(low, 0)), magnitude(high),
                               low >= 0 && bounds.low_open, bounds.high_open));
  }
  return g.choice(std::move(parts));
}

}  // namespace awq::grammar
