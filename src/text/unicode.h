#pragma once

#include <array>

namespace awq::text {

// Classes of characters as the pre-tokenizers use them. Unassigned code points belong to none.
bool is_letter(char32_t scalar);       ///< \p{L}
bool is_number(char32_t scalar);       ///< \p{N}: Nd, Nl, No
bool is_mark(char32_t scalar);         ///< \p{M}
bool is_punctuation(char32_t scalar);  ///< \p{P}, and the ASCII signs that Unicode calls symbols
bool is_white_space(char32_t scalar);  ///< property White_Space: the \s of Oniguruma and of Rust
bool is_word(char32_t scalar);         ///< \w of Rust: Alphabetic, M, Nd, Pc, Join_Control

// Simple case mapping: one code point for one. Those without a partner stay as they are.
char32_t to_lower(char32_t scalar);
char32_t to_upper(char32_t scalar);

/// Bits of char_class(). White space that is neither CR nor LF has kSpaceClass alone.
enum CharClass : unsigned { kLetterClass = 1, kNumberClass = 2, kSpaceClass = 4, kNewlineClass = 8 };

/// Classes of ASCII. kNewlineClass always comes with kSpaceClass; 0 is "anything else".
inline constexpr std::array<unsigned char, 128> kAsciiClasses = [] {
  std::array<unsigned char, 128> out{};
  for (unsigned c = 'a'; c <= 'z'; ++c) out[c] = kLetterClass;
  for (unsigned c = 'A'; c <= 'Z'; ++c) out[c] = kLetterClass;
  for (unsigned c = '0'; c <= '9'; ++c) out[c] = kNumberClass;
  for (unsigned c : {0x09U, 0x0BU, 0x0CU, 0x20U}) out[c] = kSpaceClass;
  for (unsigned c : {0x0AU, 0x0DU}) out[c] = kSpaceClass | kNewlineClass;
  return out;
}();

/// Class beyond ASCII; only the ASCII CR and LF are kNewlineClass.
unsigned wide_char_class(char32_t scalar);

inline unsigned char_class(char32_t scalar) { return scalar < 0x80 ? kAsciiClasses[scalar] : wide_char_class(scalar); }

}  // namespace awq::text
