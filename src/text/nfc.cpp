#include "text/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

int combining_class(utf8proc_int32_t scalar) { return utf8proc_get_property(scalar)->combining_class; }

/// True for a scalar that NFC leaves alone and that never joins the one before it: text may be cut in front of it.
/// Says false too often (all marks, all that decompose), which only costs time.
bool is_nfc_boundary(char32_t scalar) {
  if (scalar < 0x300) return true;
  if (scalar >= 0xAC00 && scalar <= 0xD7A3) return true;   // Hangul syllables; a vowel or final may follow, not precede
  if (scalar >= 0x1100 && scalar <= 0x11FF) return false;  // Hangul letters join
  if (is_mark(scalar)) return false;
  const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(scalar));
  return property->combining_class == 0 && property->decomp_seqindex == UINT16_MAX;
}

void decompose(std::string_view text, bool compatibility, std::vector<utf8proc_int32_t>& out) {
  const int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatibility ? UTF8PROC_COMPAT : 0);
  std::array<utf8proc_int32_t, 32> parts{};  // the longest decomposition of Unicode has 18 scalars
  for (std::size_t at = 0; at < text.size();) {
    const Scalar scalar = scalar_at(text, at);
    at += scalar.bytes;
    int bound_class = 0;
    const utf8proc_ssize_t count =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(scalar.value), parts.data(), parts.size(),
                                static_cast<utf8proc_option_t>(options), &bound_class);
    AWQ_CHECK(count >= 0 && static_cast<std::size_t>(count) <= parts.size());
    out.insert(out.end(), parts.begin(), parts.begin() + count);
  }
  for (auto begin = out.begin(); begin != out.end();) {
    begin = std::find_if(begin, out.end(), [](auto scalar) { return combining_class(scalar) != 0; });
    const auto end = std::find_if(begin, out.end(), [](auto scalar) { return combining_class(scalar) == 0; });
    std::stable_sort(begin, end, [](auto a, auto b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

void append_normalized(std::string_view text, NormalForm form, std::string& out) {
  const bool compatibility = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  const bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  std::vector<utf8proc_int32_t> scalars;
  decompose(text, compatibility, scalars);
  std::size_t count = scalars.size();
  if (compose && count > 0) {
    const utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(scalars.data(), static_cast<utf8proc_ssize_t>(count),
                                 static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    AWQ_CHECK(composed >= 0);
    count = static_cast<std::size_t>(composed);
  }
  for (std::size_t i = 0; i < count; ++i) append_utf8(out, static_cast<char32_t>(scalars[i]));
}

/// NFC with everything between boundaries that needs no work copied as it is.
std::string to_nfc(std::string_view text) {
  std::string out;
  std::size_t copied = 0;
  std::size_t boundary = 0;  // the last one before `at`
  for (std::size_t at = 0; at < text.size();) {
    Scalar scalar = scalar_at(text, at);
    if (is_nfc_boundary(scalar.value)) {
      boundary = at;
      at += scalar.bytes;
      continue;
    }
    while (at < text.size() && !is_nfc_boundary(scalar_at(text, at).value)) at += scalar_at(text, at).bytes;
    boundary = std::max(boundary, copied);
    out.append(text.substr(copied, boundary - copied));
    append_normalized(text.substr(boundary, at - boundary), NormalForm::kNfc, out);
    copied = at;
  }
  out.append(text.substr(copied));
  return out;
}

}  // namespace

std::string unicode_normalize(std::string_view text, NormalForm form) {
  const bool is_ascii =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (is_ascii) return std::string(text);
  if (form == NormalForm::kNfc) return to_nfc(text);
  std::string out;
  append_normalized(text, form, out);
  return out;
}

}  // namespace awq::text
