#include "text/utf8.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include "text/byte_alphabet.h"
#include "text/nfc.h"
#include "text/tokenizer_test_support.h"
#include "text/unicode.h"

namespace awq::text {
namespace {

std::string lossy(std::string_view bytes) {
  std::string out;
  EXPECT_EQ(append_lossy_utf8(out, bytes, true), bytes.size());
  return out;
}

TEST(Utf8, ReplacesMaximalInvalidParts) {
  const std::string r(kReplacementUtf8);
  EXPECT_EQ(lossy("a\x80z"), "a" + r + "z");
  EXPECT_EQ(lossy("\xC0\xAF"), r + r);                  // overlong
  EXPECT_EQ(lossy("\xED\xA0\x80"), r + r + r);          // a surrogate
  EXPECT_EQ(lossy("\xF0\x9F\x98z"), r + "z");           // one part cut short
  EXPECT_EQ(lossy("\xF4\x90\x80\x80"), r + r + r + r);  // beyond U+10FFFF
  EXPECT_EQ(lossy("\xE4\xBD"), r);
  EXPECT_EQ(lossy("\xE4\xBD\xA0"), "\u4f60");
}

TEST(Utf8, KeepsBackWhatTheEndCutsOff) {
  std::string out;
  EXPECT_EQ(append_lossy_utf8(out, "ab\xF0\x9F\x98", false), 2U);
  EXPECT_EQ(out, "ab");
}

TEST(Utf8, EveryScalarSurvives) {
  for (char32_t scalar = 0; scalar < 0x110000; ++scalar) {
    if (scalar >= 0xD800 && scalar <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, scalar);
    ASSERT_EQ(valid_utf8_prefix(text), text.size());
    ASSERT_TRUE(scalar_at(text, 0).value == scalar);
    ASSERT_EQ(scalar_before(text, text.size()).bytes, text.size());
  }
}

TEST(ByteAlphabet, IsTheOneOfGpt2) {
  EXPECT_EQ(to_byte_chars(" a\n\xFF"), "\u0120a\u010a\u00ff");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string raw(1, static_cast<char>(byte));
    EXPECT_EQ(from_byte_chars(to_byte_chars(raw)), raw);
  }
  EXPECT_EQ(from_byte_chars("a b"), std::nullopt);
  EXPECT_EQ(from_byte_chars("\u4f60"), std::nullopt);
}

std::string reference_normalize(const std::string& text, NormalForm form) {
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  const bool compatibility = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const int options =
      UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compatibility ? UTF8PROC_COMPAT : 0);
  utf8proc_uint8_t* out = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &out, static_cast<utf8proc_option_t>(options));
  EXPECT_GE(length, 0);
  std::string result(reinterpret_cast<const char*>(out), static_cast<std::size_t>(length));
  std::free(out);
  return result;
}

TEST(Normalize, EqualsTheLibraryOnRandomText) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20000; ++round) {
    const std::string text = test::random_text(random, 12);
    for (const NormalForm form : {NormalForm::kNfc, NormalForm::kNfd, NormalForm::kNfkc, NormalForm::kNfkd}) {
      ASSERT_EQ(unicode_normalize(text, form), reference_normalize(text, form)) << text;
    }
  }
}

TEST(Normalize, EveryScalarAloneAndBehindALetter) {
  for (char32_t scalar = 1; scalar < 0x30000; ++scalar) {
    if (scalar >= 0xD800 && scalar <= 0xDFFF) continue;
    std::string text = "e";
    append_utf8(text, scalar);
    ASSERT_EQ(unicode_normalize(text, NormalForm::kNfc), reference_normalize(text, NormalForm::kNfc))
        << static_cast<unsigned>(scalar);
    text.erase(0, 1);
    ASSERT_EQ(unicode_normalize(text, NormalForm::kNfc), reference_normalize(text, NormalForm::kNfc))
        << static_cast<unsigned>(scalar);
  }
}

TEST(Unicode, Classes) {
  EXPECT_TRUE(is_white_space(0x3000) && is_white_space(0x85) && !is_white_space(0x180E) && !is_white_space(0x200B));
  EXPECT_TRUE(is_number(0xBD) && is_number(0x2167) && !is_number('a'));
  EXPECT_TRUE(is_punctuation('$') && is_punctuation(0x3001) && !is_punctuation(0x20AC));
  EXPECT_TRUE(is_word('_') && is_word(0x301) && is_word(0x24B6) && !is_word('-') && !is_word(0xBD));
  EXPECT_EQ(char_class('\r'), static_cast<unsigned>(kSpaceClass | kNewlineClass));
  EXPECT_EQ(char_class(0x2028), static_cast<unsigned>(kSpaceClass));
}

}  // namespace
}  // namespace awq::text
