#include <utility>

#include "text/tokenizer.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

/// For implementations of Tokenizer that have no stream of their own (tests): decodes everything again for each id
/// and gives out what has been added, as long as no half character ends it.
class RepeatedDecode final : public TextStream {
 public:
  RepeatedDecode(const Tokenizer& tokenizer, bool skip_special) : tokenizer_(tokenizer), skip_special_(skip_special) {}

  void push(std::int32_t id, std::string& out) override {
    ids_.push_back(id);
    const std::string text = tokenizer_.decode(ids_, skip_special_);
    if (!text.ends_with(kReplacementUtf8)) release(text, out);
  }
  void finish(std::string& out) override { release(tokenizer_.decode(ids_, skip_special_), out); }

 private:
  void release(const std::string& text, std::string& out) {
    if (text.size() <= emitted_) return;
    out.append(text, emitted_);
    emitted_ = text.size();
  }

  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::vector<std::int32_t> ids_;
  std::size_t emitted_ = 0;
};

}  // namespace

std::unique_ptr<TextStream> Tokenizer::stream(bool skip_special_tokens) const {
  return std::make_unique<RepeatedDecode>(*this, skip_special_tokens);
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens)
    : tokenizer_(tokenizer), skip_special_(skip_special_tokens), stream_(tokenizer.stream(skip_special_tokens)) {}

void StreamDecoder::skip(std::span<const std::int32_t> ids) {
  // A stream cannot be asked what it holds back; a second one, which is finished here, tells.
  const std::unique_ptr<TextStream> probe = tokenizer_.stream(skip_special_);
  std::string shown;
  for (const std::int32_t id : ids) {
    stream_->push(id, shown);
    probe->push(id, shown);
  }
  known_.clear();
  probe->finish(known_);
  if (known_.ends_with(kReplacementUtf8)) known_.clear();  // a character that is not whole yet
}

/// Takes what skip() knows off the beginning of `out`.
void StreamDecoder::drop_known(std::string& out) {
  if (known_.empty() || out.empty()) return;
  if (known_.starts_with(out)) {
    known_.erase(0, out.size());
    out.clear();
    return;
  }
  std::string known = std::exchange(known_, {});
  if (out.starts_with(kReplacementUtf8) && !known.starts_with(kReplacementUtf8)) {
    // Bytes that came later made a run of bytes invalid as a whole; then each byte of it is one U+FFFD.
    const std::size_t bytes = known.size();
    known.clear();
    for (std::size_t i = 0; i < bytes; ++i) known += kReplacementUtf8;
  }
  if (out.starts_with(known)) out.erase(0, known.size());
}

std::string StreamDecoder::push(std::int32_t id) {
  std::string out;
  stream_->push(id, out);
  drop_known(out);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  stream_->finish(out);
  drop_known(out);
  return out;
}

}  // namespace awq::text
