#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace awq::text {

// The byte-level alphabet of GPT-2: every byte has a printable character. Bytes 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF
// stand for themselves; the other 68, in increasing order, are U+0100, U+0101, ...

/// The character of a byte.
char32_t byte_to_char(unsigned char byte);
/// The byte of a character, or nothing when it is not in the alphabet.
std::optional<unsigned char> char_to_byte(char32_t scalar);

/// `bytes` written in the alphabet.
std::string to_byte_chars(std::string_view bytes);
/// The bytes that `text` (valid UTF-8) stands for; nothing when one of its characters is not in the alphabet.
std::optional<std::string> from_byte_chars(std::string_view text);

}  // namespace awq::text
