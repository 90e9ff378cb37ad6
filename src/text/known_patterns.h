#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "text/pretokenizer.h"

namespace awq::text {

/// Patterns that most models use. Each has a hand-written splitter with the same result as the pattern (the tests
/// compare them with PCRE2), several times as fast and linear by construction.
enum class KnownPattern { kGpt2, kLlama3, kQwen2 };

inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Which of the patterns `pattern` is, letter by letter.
std::optional<KnownPattern> find_known_pattern(std::string_view pattern);

/// Appends the matches in text[begin, end); they cover all of it. The text is valid UTF-8.
void split_by_known_pattern(KnownPattern pattern, std::string_view text, Span range, std::vector<Span>& out);

}  // namespace awq::text
