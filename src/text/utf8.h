#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace awq::text {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;
inline constexpr std::string_view kReplacementUtf8 = "\xEF\xBF\xBD";

enum class Utf8Kind { kValid, kInvalid, kIncomplete };

/// One step through bytes that may be anything: a scalar, a maximal invalid part (Unicode 15, section 3.9, "U+FFFD
/// substitution of maximal subparts"), or a scalar that the end of the bytes cuts off.
struct Utf8Step {
  Utf8Kind kind = Utf8Kind::kInvalid;
  std::size_t bytes = 1;
  char32_t scalar = kReplacementCharacter;
};

/// Requires at < bytes.size().
Utf8Step utf8_step(std::string_view bytes, std::size_t at);

/// Length of the longest prefix that is valid UTF-8.
std::size_t valid_utf8_prefix(std::string_view bytes);

/// Appends `bytes` with U+FFFD in the place of each maximal invalid part. Returns how many bytes were used: all of
/// them, or all but a scalar cut off at the end when `is_end` is false.
std::size_t append_lossy_utf8(std::string& out, std::string_view bytes, bool is_end);

void append_utf8(std::string& out, char32_t scalar);

struct Scalar {
  char32_t value = 0;
  unsigned bytes = 1;
};

/// The scalar at `at` of text that is known to be valid UTF-8.
inline Scalar scalar_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[at + i])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {((lead & 0x1F) << 6) | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {((lead & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F), 3};
  return {((lead & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) | (byte(3) & 0x3F), 4};
}

/// The scalar that ends at `end` of valid UTF-8; requires end > 0.
inline Scalar scalar_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return scalar_at(text, begin);
}

}  // namespace awq::text
