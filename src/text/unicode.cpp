#include "text/unicode.h"

#include <utf8proc.h>

namespace awq::text {
namespace {

utf8proc_category_t category_of(char32_t scalar) { return utf8proc_category(static_cast<utf8proc_int32_t>(scalar)); }

}  // namespace

char32_t to_lower(char32_t scalar) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(scalar)));
}

char32_t to_upper(char32_t scalar) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(scalar)));
}

bool is_letter(char32_t scalar) {
  const utf8proc_category_t c = category_of(scalar);
  return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool is_number(char32_t scalar) {
  const utf8proc_category_t c = category_of(scalar);
  return c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO;
}

bool is_mark(char32_t scalar) {
  const utf8proc_category_t c = category_of(scalar);
  return c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME;
}

bool is_punctuation(char32_t scalar) {
  if (scalar < 0x80) {
    return (scalar >= 0x21 && scalar <= 0x2F) || (scalar >= 0x3A && scalar <= 0x40) ||
           (scalar >= 0x5B && scalar <= 0x60) || (scalar >= 0x7B && scalar <= 0x7E);
  }
  const utf8proc_category_t c = category_of(scalar);
  return c >= UTF8PROC_CATEGORY_PC && c <= UTF8PROC_CATEGORY_PO;
}

bool is_white_space(char32_t scalar) {
  if (scalar < 0x80) return scalar == 0x20 || (scalar >= 0x09 && scalar <= 0x0D);
  return scalar == 0x85 || scalar == 0xA0 || scalar == 0x1680 || (scalar >= 0x2000 && scalar <= 0x200A) ||
         scalar == 0x2028 || scalar == 0x2029 || scalar == 0x202F || scalar == 0x205F || scalar == 0x3000;
}

bool is_word(char32_t scalar) {
  // Other_Alphabetic adds marks (covered) and the circled and squared Latin letters, which are symbols.
  if ((scalar >= 0x24B6 && scalar <= 0x24E9) || (scalar >= 0x1F130 && scalar <= 0x1F149) ||
      (scalar >= 0x1F150 && scalar <= 0x1F169) || (scalar >= 0x1F170 && scalar <= 0x1F189)) {
    return true;
  }
  if (scalar == 0x200C || scalar == 0x200D) return true;
  const utf8proc_category_t c = category_of(scalar);
  return (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) ||
         (c >= UTF8PROC_CATEGORY_MN && c <= UTF8PROC_CATEGORY_ME) || c == UTF8PROC_CATEGORY_ND ||
         c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_PC;
}

unsigned wide_char_class(char32_t scalar) {
  if (is_white_space(scalar)) return kSpaceClass;
  const utf8proc_category_t c = category_of(scalar);
  if (c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO) return kLetterClass;
  if (c >= UTF8PROC_CATEGORY_ND && c <= UTF8PROC_CATEGORY_NO) return kNumberClass;
  return 0;
}

}  // namespace awq::text
