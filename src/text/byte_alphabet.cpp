#include "text/byte_alphabet.h"

#include <array>

#include "text/utf8.h"

namespace awq::text {
namespace {

constexpr char32_t kCharEnd = 0x100 + 68;

struct Alphabet {
  std::array<char32_t, 256> chars{};
  std::array<int, kCharEnd> bytes{};  ///< -1: not in the alphabet
};

constexpr Alphabet make_alphabet() {
  Alphabet out;
  for (int& byte : out.bytes) byte = -1;
  char32_t next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const char32_t scalar = itself ? byte : next++;
    out.chars[byte] = scalar;
    out.bytes[scalar] = static_cast<int>(byte);
  }
  return out;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

char32_t byte_to_char(unsigned char byte) { return kAlphabet.chars[byte]; }

std::optional<unsigned char> char_to_byte(char32_t scalar) {
  if (scalar >= kCharEnd || kAlphabet.bytes[scalar] < 0) return std::nullopt;
  return static_cast<unsigned char>(kAlphabet.bytes[scalar]);
}

std::string to_byte_chars(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) append_utf8(out, byte_to_char(static_cast<unsigned char>(byte)));
  return out;
}

std::optional<std::string> from_byte_chars(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Scalar scalar = scalar_at(text, at);
    const std::optional<unsigned char> byte = char_to_byte(scalar.value);
    if (!byte) return std::nullopt;
    out.push_back(static_cast<char>(*byte));
    at += scalar.bytes;
  }
  return out;
}

}  // namespace awq::text
