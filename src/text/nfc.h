#pragma once

#include <string>
#include <string_view>

namespace awq::text {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// Unicode normalization of valid UTF-8 in O(n log n), whatever the text: runs of combining marks are sorted with a
/// real sort, where a library's insertion sort would let a long run take quadratic time.
std::string unicode_normalize(std::string_view text, NormalForm form);

}  // namespace awq::text
