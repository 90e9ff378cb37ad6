#include "quant/pack_bits.h"

#include <bit>
#include <cstring>

#include "base/check.h"

namespace awq::quant {
namespace {

static_assert(std::endian::native == std::endian::little, "packed words are stored in little-endian order");

/// Nibbles 3..0 of the low 16 bits, each moved to the low end of its own 16 bits.
constexpr std::uint64_t spread_nibbles(std::uint64_t x) {
  x = (x | (x << 24)) & 0x000000FF000000FFU;
  return (x | (x << 12)) & 0x000F000F000F000FU;
}

/// The inverse: the low nibble of each 16 bits, gathered into the low 16 bits.
constexpr std::uint32_t gather_nibbles(std::uint64_t x) {
  x &= 0x000F000F000F000FU;
  x = (x | (x >> 12)) & 0x000000FF000000FFU;
  return static_cast<std::uint32_t>((x | (x >> 24)) & 0xFFFFU);
}

}  // namespace

void pack_bits(int bits, std::span<const std::uint8_t> codes, std::span<std::uint32_t> words) {
  AWQ_CHECK(bits >= 1 && bits <= 8 && words.size() == packed_words(bits, codes.size()));
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  std::uint64_t pending = 0;  // bits not yet written, at most 31 between steps
  int count = 0;
  std::uint32_t* to = words.data();
  for (const std::uint8_t code : codes) {
    pending |= (code & mask) << count;
    count += bits;
    if (count >= 32) {
      *to++ = static_cast<std::uint32_t>(pending);
      pending >>= 32;
      count -= 32;
    }
  }
  if (count > 0) *to = static_cast<std::uint32_t>(pending);
}

void unpack_bits(int bits, std::span<const std::uint32_t> words, std::span<std::uint8_t> codes) {
  AWQ_CHECK(bits >= 1 && bits <= 8 && words.size() == packed_words(bits, codes.size()));
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  std::uint64_t pending = 0;
  int count = 0;
  const std::uint32_t* from = words.data();
  for (std::uint8_t& code : codes) {
    if (count < bits) {
      pending |= static_cast<std::uint64_t>(*from++) << count;
      count += 32;
    }
    code = static_cast<std::uint8_t>(pending & mask);
    pending >>= bits;
    count -= bits;
  }
}

void pack_awq(std::span<const std::uint8_t> codes, std::span<std::uint32_t> words) {
  AWQ_CHECK(codes.size() == 8 * words.size());
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, codes.data() + 8 * i, 8);
    words[i] = gather_nibbles(eight) | (gather_nibbles(eight >> 8) << 16);
  }
}

void unpack_awq(std::span<const std::uint32_t> words, std::span<std::uint8_t> codes) {
  AWQ_CHECK(codes.size() == 8 * words.size());
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::uint64_t eight = spread_nibbles(words[i] & 0xFFFFU) | (spread_nibbles(words[i] >> 16) << 8);
    std::memcpy(codes.data() + 8 * i, &eight, 8);
  }
}

}  // namespace awq::quant
