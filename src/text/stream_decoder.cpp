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
    : stream_(tokenizer.stream(skip_special_tokens)) {}

std::string StreamDecoder::push(std::int32_t id) {
  std::string out;
  stream_->push(id, out);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out;
  stream_->finish(out);
  return out;
}

}  // namespace awq::text
