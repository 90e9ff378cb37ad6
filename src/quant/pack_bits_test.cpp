#include "quant/pack_bits.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace awq::quant {
namespace {

using Codes = std::vector<std::uint8_t>;
using Words = std::vector<std::uint32_t>;

Codes counting(std::size_t count, int modulus) {
  Codes codes(count);
  for (std::size_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(i % static_cast<std::size_t>(modulus));
  return codes;
}

Words packed(int bits, const Codes& codes) {
  Words words(packed_words(bits, codes.size()));
  pack_bits(bits, codes, words);
  return words;
}

TEST(PackAwq, KnownWords) {
  Words word(1);
  pack_awq(Codes{0, 1, 2, 3, 4, 5, 6, 7}, word);
  EXPECT_EQ(word[0], 0x75316420U);
  pack_awq(Codes{15, 14, 13, 12, 11, 10, 9, 8}, word);
  EXPECT_EQ(word[0], 0x8ACE9BDFU);
  pack_awq(Codes(8, 8), word);
  EXPECT_EQ(word[0], 0x88888888U);
}

// The published order, written out: nibble i of a word holds channel kChannel[i].
TEST(PackAwq, AgreesWithTheOrderOfTheFormat) {
  constexpr int kChannel[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  std::mt19937 random(1);
  Words words(1000);
  for (std::uint32_t& word : words) word = static_cast<std::uint32_t>(random());
  Codes codes(8 * words.size());
  unpack_awq(words, codes);
  for (std::size_t w = 0; w < words.size(); ++w) {
    for (std::size_t i = 0; i < 8; ++i) {
      ASSERT_EQ(codes[8 * w + static_cast<std::size_t>(kChannel[i])], (words[w] >> (4 * i)) & 15U);
    }
  }
  Words again(words.size());
  pack_awq(codes, again);
  EXPECT_EQ(again, words);
}

TEST(PackBits, KnownWords) {
  EXPECT_EQ(packed(4, counting(8, 8)), (Words{0x76543210U}));
  EXPECT_EQ(packed(4, counting(16, 16)), (Words{0x76543210U, 0xFEDCBA98U}));
  EXPECT_EQ(packed(3, counting(16, 8)), (Words{0x88FAC688U, 0x0000FAC6U}));
  EXPECT_EQ(packed(8, counting(4, 256)), (Words{0x03020100U}));
}

TEST(PackBits, CodeSitsAtItsBit) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (std::size_t i = 0; i < 40; ++i) {
      Codes codes(40);
      codes[i] = 1;
      const Words words = packed(bits, codes);
      const std::size_t bit = i * static_cast<std::size_t>(bits);
      for (std::size_t w = 0; w < words.size(); ++w) {
        ASSERT_EQ(words[w], w == bit / 32 ? 1U << (bit % 32) : 0U) << bits << " bits, code " << i;
      }
    }
  }
}

TEST(PackBits, RoundTripOfRandomCodes) {
  std::mt19937 random(2);
  for (int bits = 1; bits <= 8; ++bits) {
    for (std::size_t count = 0; count < 130; ++count) {
      Codes codes(count);
      for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(random() & ((1U << bits) - 1));
      const Words words = packed(bits, codes);
      Codes again(count, 0xFF);
      unpack_bits(bits, words, again);
      ASSERT_EQ(again, codes) << bits << " bits, " << count << " codes";
    }
  }
}

TEST(PackBits, UnusedBitsAreWrittenAsZeroAndNotRead) {
  Words words = packed(5, Codes(3, 31));
  EXPECT_EQ(words, (Words{0x7FFFU}));
  words[0] |= 0xFFFF0000U;
  Codes codes(3);
  unpack_bits(5, words, codes);
  EXPECT_EQ(codes, Codes(3, 31));
}

TEST(PackBits, NumberOfWords) {
  EXPECT_EQ(packed_words(4, 0), 0U);
  EXPECT_EQ(packed_words(4, 9), 2U);
  EXPECT_EQ(packed_words(3, 128), 12U);
  EXPECT_EQ(packed_words(8, ~std::uint64_t{0}), std::uint64_t{1} << 62);
}

}  // namespace
}  // namespace awq::quant
