#include "text/pretokenizer.h"

#include <optional>
#include <utility>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/known_patterns.h"
#include "text/split_behavior.h"
#include "text/split_regex.h"
#include "text/unicode.h"
#include "text/utf8.h"

namespace awq::text {

void Pieces::set_spans(std::vector<Span> spans) {
  std::erase_if(spans, [](const Span& span) { return span.begin >= span.end; });
  if (!spans.empty() && !spans_.empty() && spans.front().begin != spans_.front().begin) is_first_ = false;
  spans_ = std::move(spans);
}

void Pieces::rewrite(std::string text, const std::vector<std::size_t>& ends) {
  AWQ_CHECK(ends.size() == spans_.size());
  std::size_t begin = 0;
  for (std::size_t i = 0; i < ends.size(); ++i) {
    spans_[i] = {begin, ends[i]};
    begin = ends[i];
  }
  owned_ = std::move(text);
  text_ = owned_;
}

namespace {

constexpr std::size_t kMaxStages = 32;

/// Cuts every piece alone and applies a behavior to the parts.
template <typename Finder>
class SplitStage : public PreTokenizer {
 public:
  SplitStage(Finder finder, SplitBehavior behavior, bool invert)
      : finder_(std::move(finder)), behavior_(behavior), invert_(invert) {}

  void apply(Pieces& pieces) const override {
    std::vector<Span> spans;
    std::vector<SplitPart> parts;
    for (const Span& piece : pieces.spans()) {
      parts.clear();
      finder_(pieces.text(piece), parts);
      if (invert_) {
        for (SplitPart& part : parts) part.is_match = !part.is_match;
      }
      apply_behavior(behavior_, parts, piece.begin, spans);
    }
    pieces.set_spans(std::move(spans));
  }

 private:
  Finder finder_;
  SplitBehavior behavior_;
  bool invert_;
};

template <typename Finder>
std::unique_ptr<PreTokenizer> make_split(Finder finder, SplitBehavior behavior, bool invert = false) {
  return std::make_unique<SplitStage<Finder>>(std::move(finder), behavior, invert);
}

/// Every character for which `test` holds is a match of its own.
template <typename Test>
auto each_char(Test test) {
  return [test](std::string_view text, std::vector<SplitPart>& parts) {
    std::size_t gap = 0;
    for (std::size_t at = 0; at < text.size();) {
      const Scalar scalar = scalar_at(text, at);
      const std::size_t end = at + scalar.bytes;
      if (test(scalar.value)) {
        if (gap < at) parts.push_back({gap, at, false});
        parts.push_back({at, end, true});
        gap = end;
      }
      at = end;
    }
    if (gap < text.size()) parts.push_back({gap, text.size(), false});
  };
}

struct FindRegex {
  SplitRegex regex;
  void operator()(std::string_view text, std::vector<SplitPart>& parts) const {
    std::size_t gap = 0;
    regex.for_each(text, [&](std::size_t begin, std::size_t end) {
      if (gap < begin) parts.push_back({gap, begin, false});
      parts.push_back({begin, end, true});
      gap = end;
    });
    if (gap < text.size()) parts.push_back({gap, text.size(), false});
  }
};

struct FindString {
  std::string pattern;
  void operator()(std::string_view text, std::vector<SplitPart>& parts) const {
    std::size_t gap = 0;
    for (std::size_t at = text.find(pattern); at != std::string_view::npos; at = text.find(pattern, gap)) {
      if (gap < at) parts.push_back({gap, at, false});
      gap = at + pattern.size();
      parts.push_back({at, gap, true});
    }
    if (gap < text.size()) parts.push_back({gap, text.size(), false});
  }
};

class KnownSplit : public PreTokenizer {
 public:
  explicit KnownSplit(KnownPattern pattern) : pattern_(pattern) {}
  void apply(Pieces& pieces) const override {
    std::vector<Span> spans;
    for (const Span& piece : pieces.spans()) {
      const std::string_view text = pieces.text(piece);
      const std::size_t first = spans.size();
      split_by_known_pattern(pattern_, text, {0, text.size()}, spans);
      for (std::size_t i = first; i < spans.size(); ++i) {
        spans[i].begin += piece.begin;
        spans[i].end += piece.begin;
      }
    }
    pieces.set_spans(std::move(spans));
  }

 private:
  KnownPattern pattern_;
};

/// Rewrites each piece by `Rule(text, is_first, out)`.
template <typename Rule>
class RewriteStage : public PreTokenizer {
 public:
  explicit RewriteStage(Rule rule) : rule_(std::move(rule)) {}
  void apply(Pieces& pieces) const override {
    std::string text;
    std::vector<std::size_t> ends;
    for (std::size_t i = 0; i < pieces.spans().size(); ++i) {
      rule_(pieces.text(pieces.spans()[i]), pieces.is_first(i), text);
      ends.push_back(text.size());
    }
    pieces.rewrite(std::move(text), ends);
  }

 private:
  Rule rule_;
};

template <typename Rule>
std::unique_ptr<PreTokenizer> make_rewrite(Rule rule) {
  return std::make_unique<RewriteStage<Rule>>(std::move(rule));
}

using Stages = std::vector<std::unique_ptr<PreTokenizer>>;

class PreTokenizerSequence : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(Stages stages) : stages_(std::move(stages)) {}
  void apply(Pieces& pieces) const override {
    for (const auto& stage : stages_) stage->apply(pieces);
  }

 private:
  Stages stages_;
};

std::unique_ptr<PreTokenizer> read_byte_level(const JsonField& field, bool* leaves_bytes) {
  Stages stages;
  if (field.boolean_or("add_prefix_space", true)) {
    stages.push_back(make_rewrite([](std::string_view text, bool, std::string& out) {
      if (!text.starts_with(' ')) out += ' ';
      out += text;
    }));
  }
  if (field.boolean_or("use_regex", true)) stages.push_back(std::make_unique<KnownSplit>(KnownPattern::kGpt2));
  if (leaves_bytes != nullptr) {
    *leaves_bytes = true;
  } else {
    stages.push_back(make_rewrite([](std::string_view text, bool, std::string& out) { out += to_byte_chars(text); }));
  }
  return std::make_unique<PreTokenizerSequence>(std::move(stages));
}

std::unique_ptr<PreTokenizer> read_split(const JsonField& field) {
  const JsonField pattern = field.at("pattern");
  const SplitBehavior behavior = read_behavior(field.at("behavior"));
  const bool invert = field.boolean_or("invert", false);
  if (const std::optional<JsonField> regex = pattern.get("Regex")) {
    const std::optional<KnownPattern> known = find_known_pattern(regex->string());
    // These patterns match every character, so there are no gaps for `invert` or a behavior to act on.
    if (known && behavior == SplitBehavior::kIsolated) return std::make_unique<KnownSplit>(*known);
    return make_split(FindRegex{SplitRegex(regex->string(), regex->where())}, behavior, invert);
  }
  const JsonField literal = pattern.at("String");
  if (literal.string().empty()) literal.corrupt("an empty string", "a text to split at");
  return make_split(FindString{literal.string()}, behavior, invert);
}

std::unique_ptr<PreTokenizer> read_metaspace(const JsonField& field) {
  const std::string replacement = field.string_or("replacement", "\xE2\x96\x81");
  if (replacement.empty() || scalar_at(replacement, 0).bytes != replacement.size()) {
    field.at("replacement").corrupt(replacement, "one character");
  }
  const std::string scheme = read_prepend_scheme(field);
  Stages stages;
  stages.push_back(make_rewrite([replacement, scheme](std::string_view text, bool is_first, std::string& out) {
    const bool wanted = scheme == "always" || (scheme == "first" && is_first);
    if (wanted && !text.starts_with(' ') && !text.starts_with(replacement)) out += replacement;
    for (const char c : text) {
      if (c == ' ') {
        out += replacement;
      } else {
        out += c;
      }
    }
  }));
  if (field.boolean_or("split", true))
    stages.push_back(make_split(FindString{replacement}, SplitBehavior::kMergedWithNext));
  return std::make_unique<PreTokenizerSequence>(std::move(stages));
}

std::unique_ptr<PreTokenizer> read_fixed_length(const JsonField& field) {
  const std::int64_t length = field.integer_or("length", 5, 1, 1 << 20);
  return make_split(
      [length](std::string_view text, std::vector<SplitPart>& parts) {
        std::size_t begin = 0;
        std::int64_t count = 0;
        for (std::size_t at = 0; at < text.size();) {
          at += scalar_at(text, at).bytes;
          if (++count % length == 0 || at == text.size()) {
            parts.push_back({begin, at, true});
            begin = at;
          }
        }
      },
      SplitBehavior::kIsolated);
}

std::unique_ptr<PreTokenizer> read_char_delimiter(const JsonField& field) {
  const std::string delimiter = field.at("delimiter").string();
  if (delimiter.empty() || scalar_at(delimiter, 0).bytes != delimiter.size()) {
    field.at("delimiter").corrupt(delimiter, "one character");
  }
  return make_split(FindString{delimiter}, SplitBehavior::kRemoved);
}

std::unique_ptr<PreTokenizer> read_sequence(const JsonField& field, bool* leaves_bytes) {
  const JsonField list = field.at("pretokenizers");
  if (list.size() > kMaxStages) {
    list.unsupported(fmt::format("{} stages, at most {} are read", list.size(), kMaxStages));
  }
  Stages stages;
  for (std::size_t i = 0; i < list.size(); ++i) {
    stages.push_back(read_pretokenizer(list.item(i), i + 1 == list.size() ? leaves_bytes : nullptr));
  }
  return std::make_unique<PreTokenizerSequence>(std::move(stages));
}

/// \w+|[^\w\s]+ : a word or a run of signs.
void find_words(std::string_view text, std::vector<SplitPart>& parts) {
  const auto kind = [](char32_t c) { return is_word(c) ? 1 : is_white_space(c) ? 0 : 2; };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const int first = kind(scalar_at(text, at).value);
    while (at < text.size() && kind(scalar_at(text, at).value) == first) at += scalar_at(text, at).bytes;
    parts.push_back({begin, at, first == 0});
  }
}

}  // namespace

std::unique_ptr<PreTokenizer> read_pretokenizer(const JsonField& field, bool* leaves_bytes) {
  const std::string type = field.at("type").string();
  if (type == "Sequence") return read_sequence(field, leaves_bytes);
  if (type == "ByteLevel") return read_byte_level(field, leaves_bytes);
  if (type == "Split") return read_split(field);
  if (type == "Metaspace") return read_metaspace(field);
  if (type == "Digits") {
    const bool individual = field.boolean_or("individual_digits", false);
    return make_split(each_char(is_number), individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  }
  if (type == "Punctuation") {
    const std::optional<JsonField> behavior = field.get("behavior");
    return make_split(each_char(is_punctuation), behavior ? read_behavior(*behavior) : SplitBehavior::kIsolated);
  }
  if (type == "Whitespace") return make_split(find_words, SplitBehavior::kRemoved);
  if (type == "WhitespaceSplit") return make_split(each_char(is_white_space), SplitBehavior::kRemoved);
  if (type == "CharDelimiterSplit") return read_char_delimiter(field);
  if (type == "FixedLength") return read_fixed_length(field);
  field.unsupported("pre-tokenizer \"" + type + "\" is not implemented");
}

}  // namespace awq::text
