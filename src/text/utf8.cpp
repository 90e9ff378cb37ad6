#include "text/utf8.h"

#include <cstdint>
#include <cstring>

namespace awq::text {
namespace {

/// What may follow a lead byte (Unicode 15, table 3-7); length 0 marks a byte that starts nothing.
struct Lead {
  unsigned length;
  unsigned char second_min;
  unsigned char second_max;
};

Lead lead_of(unsigned char byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

/// Number of ASCII bytes at the front, looked at eight at a time.
std::size_t ascii_prefix(std::string_view bytes, std::size_t at) {
  const std::size_t begin = at;
  while (bytes.size() - at >= 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);
    if ((word & 0x8080808080808080ULL) != 0) break;
    at += 8;
  }
  while (at < bytes.size() && static_cast<unsigned char>(bytes[at]) < 0x80) ++at;
  return at - begin;
}

}  // namespace

Utf8Step utf8_step(std::string_view bytes, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[at + i]); };
  if (byte(0) < 0x80) return {Utf8Kind::kValid, 1, byte(0)};
  const Lead lead = lead_of(byte(0));
  if (lead.length == 0) return {Utf8Kind::kInvalid, 1, kReplacementCharacter};
  const std::size_t left = bytes.size() - at;
  for (unsigned i = 1; i < lead.length; ++i) {
    if (i >= left) return {Utf8Kind::kIncomplete, i, kReplacementCharacter};
    const unsigned char low = i == 1 ? lead.second_min : 0x80;
    const unsigned char high = i == 1 ? lead.second_max : 0xBF;
    if (byte(i) < low || byte(i) > high) return {Utf8Kind::kInvalid, i, kReplacementCharacter};
  }
  return {Utf8Kind::kValid, lead.length, scalar_at(bytes, at).value};
}

std::size_t valid_utf8_prefix(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    at += ascii_prefix(bytes, at);
    if (at == bytes.size()) break;
    const Utf8Step step = utf8_step(bytes, at);
    if (step.kind != Utf8Kind::kValid) break;
    at += step.bytes;
  }
  return at;
}

std::size_t append_lossy_utf8(std::string& out, std::string_view bytes, bool is_end) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t valid = valid_utf8_prefix(bytes.substr(at));
    out.append(bytes.substr(at, valid));
    at += valid;
    if (at == bytes.size()) break;
    const Utf8Step step = utf8_step(bytes, at);
    if (step.kind == Utf8Kind::kIncomplete && !is_end) break;
    out.append(kReplacementUtf8);
    at += step.bytes;
  }
  return at;
}

void append_utf8(std::string& out, char32_t scalar) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (scalar < 0x80) {
    put(scalar);
  } else if (scalar < 0x800) {
    put(0xC0 | (scalar >> 6));
    put(0x80 | (scalar & 0x3F));
  } else if (scalar < 0x10000) {
    put(0xE0 | (scalar >> 12));
    put(0x80 | ((scalar >> 6) & 0x3F));
    put(0x80 | (scalar & 0x3F));
  } else {
    put(0xF0 | (scalar >> 18));
    put(0x80 | ((scalar >> 12) & 0x3F));
    put(0x80 | ((scalar >> 6) & 0x3F));
    put(0x80 | (scalar & 0x3F));
  }
}

}  // namespace awq::text
