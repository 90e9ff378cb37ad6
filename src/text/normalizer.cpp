#include "text/normalizer.h"

#include <utf8proc.h>

#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/nfc.h"
#include "text/split_regex.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

constexpr std::size_t kMaxStages = 32;
constexpr std::size_t kMaxLiteral = 256;

/// No real normalizer makes text more than a few times longer (NFKD: 18 scalars for one in the worst case).
void check_growth(std::size_t before, std::size_t after) {
  if (after / 64 > before + 1024) {
    fail(ErrorCode::kUnsupported, "normalizer: {} bytes of text became {}, expected at most 64 times as many", before,
         after);
  }
}

class Unicode : public Normalizer {
 public:
  explicit Unicode(NormalForm form) : form_(form) {}
  void apply(std::string& text, bool) const override { text = unicode_normalize(text, form_); }

 private:
  NormalForm form_;
};

/// Replaces each scalar by what `Map(scalar, out)` appends.
template <typename Map>
class ScalarMap : public Normalizer {
 public:
  explicit ScalarMap(Map map) : map_(std::move(map)) {}
  void apply(std::string& text, bool) const override {
    std::string out;
    out.reserve(text.size());
    for (std::size_t at = 0; at < text.size();) {
      const Scalar scalar = scalar_at(text, at);
      map_(scalar.value, out);
      at += scalar.bytes;
    }
    text = std::move(out);
  }

 private:
  Map map_;
};

void append_lowercase(char32_t scalar, std::string& out) {
  if (scalar == 0x130) {  // the only scalar whose full lowercase form has two: i and a dot above
    out += "i\xCC\x87";
    return;
  }
  append_utf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(scalar))));
}

void append_without_accent(char32_t scalar, std::string& out) {
  if (!is_mark(scalar)) append_utf8(out, scalar);
}

/// The clean-up of Google's NMT models: control characters go, odd blanks become spaces.
void append_nmt(char32_t c, std::string& out) {
  const bool dropped =
      (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
  const bool blank = c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
  if (!dropped) append_utf8(out, blank ? U' ' : c);
}

class StripSpace : public Normalizer {
 public:
  StripSpace(bool left, bool right) : left_(left), right_(right) {}
  void apply(std::string& text, bool) const override {
    std::size_t begin = 0;
    std::size_t end = text.size();
    while (left_ && begin < end && is_white_space(scalar_at(text, begin).value)) begin += scalar_at(text, begin).bytes;
    while (right_ && end > begin && is_white_space(scalar_before(text, end).value)) {
      end -= scalar_before(text, end).bytes;
    }
    text = text.substr(begin, end - begin);
  }

 private:
  bool left_;
  bool right_;
};

class ReplaceString : public Normalizer {
 public:
  ReplaceString(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(std::string& text, bool) const override {
    std::size_t at = text.find(pattern_);
    if (at == std::string::npos) return;
    std::string out;
    out.reserve(text.size() * 2);
    std::size_t copied = 0;
    for (; at != std::string::npos; at = text.find(pattern_, copied)) {
      out.append(text, copied, at - copied).append(content_);
      copied = at + pattern_.size();
    }
    text = out.append(text, copied);
  }

 private:
  std::string pattern_;
  std::string content_;
};

class ReplaceRegex : public Normalizer {
 public:
  ReplaceRegex(SplitRegex regex, std::string content) : regex_(std::move(regex)), content_(std::move(content)) {}
  void apply(std::string& text, bool) const override {
    std::string out;
    std::size_t copied = 0;
    regex_.for_each(text, [&](std::size_t begin, std::size_t end) {
      out.append(text, copied, begin - copied).append(content_);
      copied = end;
    });
    text = out.append(text, copied);
  }

 private:
  SplitRegex regex_;
  std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(std::string& text, bool) const override {
    if (!text.empty()) text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class ByteChars : public Normalizer {
 public:
  void apply(std::string& text, bool) const override { text = to_byte_chars(text); }
};

class SpaceNormalizer : public Normalizer {
 public:
  explicit SpaceNormalizer(const SpaceRules& rules) : rules_(rules) {}
  void apply(std::string& text, bool is_first) const override {
    const std::string_view space = rules_.escape_whitespaces ? "\xE2\x96\x81" : " ";
    std::size_t begin = 0;
    std::size_t end = text.size();
    if (rules_.remove_extra_whitespaces) {
      while (begin < end && text[begin] == ' ') ++begin;
      while (end > begin && text[end - 1] == ' ') --end;
    }
    std::string out;
    out.reserve(text.size() + text.size() / 2);
    if (begin < end && rules_.add_dummy_prefix && (is_first || !rules_.only_first_run)) out += space;
    for (std::size_t at = begin; at < end; ++at) {
      if (text[at] != ' ') {
        out += text[at];
      } else if (!(rules_.remove_extra_whitespaces && text[at - 1] == ' ')) {
        out += space;
      }
    }
    text = std::move(out);
  }

 private:
  SpaceRules rules_;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> stages) : stages_(std::move(stages)) {}
  void apply(std::string& text, bool is_first) const override {
    const std::size_t before = text.size();
    for (const auto& stage : stages_) {
      stage->apply(text, is_first);
      check_growth(before, text.size());
    }
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> stages_;
};

std::string short_string(const JsonField& field, std::size_t min_bytes) {
  const std::string& text = field.string();
  if (text.size() < min_bytes || text.size() > kMaxLiteral) {
    field.corrupt(fmt::format("{} bytes", text.size()), fmt::format("{} to {}", min_bytes, kMaxLiteral));
  }
  return text;
}

std::unique_ptr<Normalizer> read_replace(const JsonField& field) {
  const JsonField pattern = field.at("pattern");
  std::string content = short_string(field.at("content"), 0);
  if (const std::optional<JsonField> regex = pattern.get("Regex")) {
    return std::make_unique<ReplaceRegex>(SplitRegex(regex->string(), regex->where()), std::move(content));
  }
  return std::make_unique<ReplaceString>(short_string(pattern.at("String"), 1), std::move(content));
}

std::unique_ptr<Normalizer> read_sequence(const JsonField& field) {
  const JsonField list = field.at("normalizers");
  if (list.size() > kMaxStages)
    list.unsupported(fmt::format("{} stages, at most {} are read", list.size(), kMaxStages));
  std::vector<std::unique_ptr<Normalizer>> stages;
  for (std::size_t i = 0; i < list.size(); ++i) stages.push_back(read_normalizer(list.item(i)));
  return std::make_unique<NormalizerSequence>(std::move(stages));
}

template <typename Map>
std::unique_ptr<Normalizer> make_scalar_map(Map map) {
  return std::make_unique<ScalarMap<Map>>(std::move(map));
}

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const JsonField& field) {
  const std::string type = field.at("type").string();
  if (type == "Sequence") return read_sequence(field);
  if (type == "NFC") return std::make_unique<Unicode>(NormalForm::kNfc);
  if (type == "NFD") return std::make_unique<Unicode>(NormalForm::kNfd);
  if (type == "NFKC") return std::make_unique<Unicode>(NormalForm::kNfkc);
  if (type == "NFKD") return std::make_unique<Unicode>(NormalForm::kNfkd);
  if (type == "Lowercase") return make_scalar_map(append_lowercase);
  if (type == "StripAccents") return make_scalar_map(append_without_accent);
  if (type == "Nmt") return make_scalar_map(append_nmt);
  if (type == "Strip") {
    return std::make_unique<StripSpace>(field.boolean_or("strip_left", true), field.boolean_or("strip_right", true));
  }
  if (type == "Replace") return read_replace(field);
  if (type == "Prepend") return std::make_unique<Prepend>(short_string(field.at("prepend"), 0));
  if (type == "ByteLevel") return std::make_unique<ByteChars>();
  field.unsupported("normalizer \"" + type + "\" is not implemented");
}

std::unique_ptr<Normalizer> make_space_normalizer(const SpaceRules& rules) {
  return std::make_unique<SpaceNormalizer>(rules);
}

void normalize(const Normalizer* normalizer, std::string& text, bool is_first) {
  if (normalizer == nullptr) return;
  const std::size_t before = text.size();
  normalizer->apply(text, is_first);
  check_growth(before, text.size());
}

}  // namespace awq::text
