#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/json_field.h"

namespace awq::text {

struct Span {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// One run of text cut into pieces. A stage cuts pieces further, drops some, or rewrites all of them.
class Pieces {
 public:
  /// `text` must outlive this object unless rewritten. `is_first`: the run begins the whole input.
  Pieces(std::string_view text, bool is_first) : text_(text), is_first_(is_first) {
    if (!text.empty()) spans_.push_back({0, text.size()});
  }
  Pieces(const Pieces&) = delete;
  Pieces& operator=(const Pieces&) = delete;

  const std::vector<Span>& spans() const { return spans_; }
  std::string_view text(const Span& span) const { return text_.substr(span.begin, span.end - span.begin); }
  /// True for the piece that stands at the very beginning of the input.
  bool is_first(std::size_t index) const { return index == 0 && is_first_; }

  /// New pieces, cut from the same text. Empty ones are left out.
  void set_spans(std::vector<Span> spans);
  /// New text made of new pieces; `ends` has the end of each in `text`.
  void rewrite(std::string text, const std::vector<std::size_t>& ends);

 private:
  std::string owned_;
  std::string_view text_;
  std::vector<Span> spans_;
  bool is_first_;
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(Pieces& pieces) const = 0;
};

/// The `pre_tokenizer` of tokenizer.json. Throws kUnsupported for a type that is not implemented.
/// `leaves_bytes`: null, or where to note that the last stage would have mapped bytes to the byte-level alphabet but
/// leaves them as they are, for a model that takes raw bytes.
std::unique_ptr<PreTokenizer> read_pretokenizer(const JsonField& field, bool* leaves_bytes);

}  // namespace awq::text
