#include "text/split_behavior.h"

#include <algorithm>
#include <optional>

namespace awq::text {
namespace {

/// Joins a part with the one visited before it when `joins(part, whether the one before was a match)`.
template <typename Joins>
void fold(const std::vector<SplitPart>& parts, bool backwards, std::size_t offset, Joins joins,
          std::vector<Span>& out) {
  const std::size_t first = out.size();
  bool previous = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const SplitPart& part = backwards ? parts[parts.size() - 1 - i] : parts[i];
    if (joins(part.is_match, previous) && out.size() > first) {
      (backwards ? out.back().begin : out.back().end) = offset + (backwards ? part.begin : part.end);
    } else {
      out.push_back({offset + part.begin, offset + part.end});
    }
    previous = part.is_match;
  }
  if (backwards) std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
}

}  // namespace

SplitBehavior read_behavior(const JsonField& field) {
  const std::string& name = field.string();
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  field.corrupt(name, "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

std::string read_prepend_scheme(const JsonField& metaspace) {
  std::string scheme = metaspace.string_or("prepend_scheme", "always");
  if (scheme != "always" && scheme != "first" && scheme != "never") {
    metaspace.at("prepend_scheme").corrupt(scheme, "always, first or never");
  }
  if (metaspace.boolean_or("add_prefix_space", true)) return scheme;
  if (metaspace.get("prepend_scheme") && scheme != "never") {
    metaspace.at("add_prefix_space").corrupt("false beside prepend_scheme \"" + scheme + "\"", "never");
  }
  return "never";
}

void apply_behavior(SplitBehavior behavior, const std::vector<SplitPart>& parts, std::size_t offset,
                    std::vector<Span>& out) {
  switch (behavior) {
    case SplitBehavior::kRemoved:
      for (const SplitPart& part : parts) {
        if (!part.is_match) out.push_back({offset + part.begin, offset + part.end});
      }
      return;
    case SplitBehavior::kIsolated:
      for (const SplitPart& part : parts) out.push_back({offset + part.begin, offset + part.end});
      return;
    case SplitBehavior::kMergedWithPrevious:
      fold(
          parts, false, offset, [](bool match, bool previous) { return match && !previous; }, out);
      return;
    case SplitBehavior::kMergedWithNext:
      fold(
          parts, true, offset, [](bool match, bool previous) { return match && !previous; }, out);
      return;
    case SplitBehavior::kContiguous:
      fold(
          parts, false, offset, [](bool match, bool previous) { return match == previous; }, out);
      return;
  }
}

}  // namespace awq::text
