#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "text/json_field.h"
#include "text/pretokenizer.h"

namespace awq::text {

/// What happens to the matches of a Split stage.
enum class SplitBehavior {
  kRemoved,
  kIsolated,            ///< each is a piece of its own
  kMergedWithPrevious,  ///< each ends the piece before it
  kMergedWithNext,      ///< each begins the piece behind it
  kContiguous,          ///< neighbouring ones become one piece
};

/// The parts of one piece, in order and without gaps between them.
struct SplitPart {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool is_match = false;
};

SplitBehavior read_behavior(const JsonField& field);
/// "always", "first" or "never", out of prepend_scheme and the older add_prefix_space.
std::string read_prepend_scheme(const JsonField& metaspace);

/// Appends the pieces that `parts` become, moved by `offset`.
void apply_behavior(SplitBehavior behavior, const std::vector<SplitPart>& parts, std::size_t offset,
                    std::vector<Span>& out);

}  // namespace awq::text
