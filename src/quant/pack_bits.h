#pragma once

#include <cstdint>
#include <span>

#include "base/checked_math.h"

namespace awq::quant {

/// Words of a dense stream of `count` codes of `bits` bits each.
constexpr std::uint64_t packed_words(int bits, std::uint64_t count) {
  // count / 32 full blocks of 32 codes take `bits` words each, so nothing overflows before the result does.
  return count / 32 * static_cast<std::uint64_t>(bits) + ceil_div(count % 32 * static_cast<std::uint64_t>(bits), 32);
}

/// Dense little-endian bit stream: code i sits in bits [i * bits, (i + 1) * bits) of the words taken as one long
/// number, and may straddle two words. For 4 bits that is nibble i % 8 of word i / 8. words.size() ==
/// packed_words(bits, codes.size()); bits 1..8. Unused bits of the last word are written as 0 and not looked at when
/// reading. Bits of a code above `bits` are ignored.
void pack_bits(int bits, std::span<const std::uint8_t> codes, std::span<std::uint32_t> words);
void unpack_bits(int bits, std::span<const std::uint32_t> words, std::span<std::uint8_t> codes);

/// The nibble order of AWQ's "gemm" files: of eight neighbouring codes, the even ones fill the low half of the word and
/// the odd ones the high half.
///
///   bits   31..28 27..24 23..20 19..16 15..12 11..8  7..4   3..0
///   code        7      5      3      1      6     4     2      0
///
/// codes.size() == 8 * words.size().
void pack_awq(std::span<const std::uint8_t> codes, std::span<std::uint32_t> words);
void unpack_awq(std::span<const std::uint32_t> words, std::span<std::uint8_t> codes);

}  // namespace awq::quant
