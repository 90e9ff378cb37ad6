#include "text/decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/check.h"
#include "text/byte_alphabet.h"
#include "text/split_behavior.h"
#include "text/utf8.h"

namespace awq::text {

/// One stage at work. It hands tokens on to the next stage as soon as they are settled.
class DecodeStage {
 public:
  virtual ~DecodeStage() = default;
  virtual void push(std::string_view token) = 0;
  /// Hands on what is held back.
  virtual void finish() {}
  void set_next(DecodeStage* next) { next_ = next; }

 protected:
  void emit(std::string_view token) { next_->push(token); }

 private:
  DecodeStage* next_ = nullptr;
};

namespace {

class Collect : public DecodeStage {
 public:
  void push(std::string_view token) override { text_ += token; }
  void take(std::string& out) {
    out += text_;
    text_.clear();
  }

 private:
  std::string text_;
};

class Fuse : public DecodeStage {
 public:
  void push(std::string_view token) override { emit(token); }
};

class Replace : public DecodeStage {
 public:
  explicit Replace(const DecodeStep& step) : step_(step) {}
  void push(std::string_view token) override {
    std::size_t at = token.find(step_.text);
    if (at == std::string_view::npos) return emit(token);
    std::string out;
    std::size_t copied = 0;
    for (; at != std::string_view::npos; at = token.find(step_.text, copied)) {
      out.append(token.substr(copied, at - copied)).append(step_.content);
      copied = at + step_.text.size();
    }
    emit(out.append(token.substr(copied)));
  }

 private:
  const DecodeStep& step_;
};

class ByteFallback : public DecodeStage {
 public:
  void push(std::string_view token) override {
    if (const std::optional<char> byte = byte_of(token)) {
      run_ += *byte;
      return;
    }
    finish();
    emit(token);
  }

  void finish() override {
    if (run_.empty()) return;
    const std::string run = std::exchange(run_, {});
    if (valid_utf8_prefix(run) == run.size()) return emit(run);
    for (std::size_t i = 0; i < run.size(); ++i) emit(kReplacementUtf8);
  }

 private:
  static std::optional<char> byte_of(std::string_view token) {
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    unsigned byte = 0;
    for (const char c : token.substr(3, 2)) {
      const bool is_digit = c >= '0' && c <= '9';
      const char lower = static_cast<char>(c | 0x20);
      if (!is_digit && (lower < 'a' || lower > 'f')) return std::nullopt;
      byte = byte * 16 + static_cast<unsigned>(is_digit ? c - '0' : lower - 'a' + 10);
    }
    return static_cast<char>(static_cast<unsigned char>(byte));
  }

  std::string run_;  // a whole run is one valid text or all replacement characters: nothing is settled before its end
};

class StripEach : public DecodeStage {
 public:
  explicit StripEach(const DecodeStep& step) : step_(step) {}
  void push(std::string_view token) override {
    for (std::size_t i = 0; i < step_.start && token.starts_with(step_.text); ++i)
      token.remove_prefix(step_.text.size());
    for (std::size_t i = 0; i < step_.stop && token.ends_with(step_.text); ++i) token.remove_suffix(step_.text.size());
    emit(token);
  }

 private:
  const DecodeStep& step_;
};

/// Strips the one text that all tokens make: the start once, the end by holding back what may turn out to be it.
class StripWhole : public DecodeStage {
 public:
  explicit StripWhole(const DecodeStep& step) : step_(step), start_left_(step.start) {}
  void push(std::string_view token) override {
    const std::string& mark = step_.text;
    while (start_left_ > 0 && token.starts_with(mark)) {
      token.remove_prefix(mark.size());
      --start_left_;
    }
    if (token.empty()) return;
    start_left_ = 0;
    std::string_view body = token;
    while (body.ends_with(mark)) body.remove_suffix(mark.size());
    const std::size_t trailing = (token.size() - body.size()) / mark.size();
    std::string out;
    if (!body.empty()) {
      append_marks(out, std::exchange(held_, 0));
      out += body;
    }
    held_ += trailing;
    if (held_ > step_.stop) {
      append_marks(out, held_ - step_.stop);
      held_ = step_.stop;
    }
    if (!out.empty()) emit(out);
  }

 private:
  void append_marks(std::string& out, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) out += step_.text;
  }

  const DecodeStep& step_;
  std::size_t start_left_;
  std::size_t held_ = 0;  ///< marks at the end so far, at most `stop`; dropped when nothing follows
};

class ByteLevel : public DecodeStage {
 public:
  void push(std::string_view token) override {
    pending_ += from_byte_chars(token).value_or(std::string(token));
    release(false);
  }
  void finish() override { release(true); }

 private:
  void release(bool is_end) {
    std::string out;
    pending_.erase(0, append_lossy_utf8(out, pending_, is_end));
    if (!out.empty()) emit(out);
  }

  std::string pending_;  ///< at most the first three bytes of a character, between calls
};

class Metaspace : public DecodeStage {
 public:
  explicit Metaspace(const DecodeStep& step) : step_(step) {}
  void push(std::string_view token) override {
    std::string out;
    const bool drop = std::exchange(is_first_, false) && step_.drop_first;
    for (std::size_t at = 0; at < token.size();) {
      const std::size_t bytes = scalar_at(token, at).bytes;
      if (token.substr(at, bytes) != step_.text) {
        out += token.substr(at, bytes);
      } else if (!drop) {
        out += ' ';
      }
      at += bytes;
    }
    emit(out);
  }

 private:
  const DecodeStep& step_;
  bool is_first_ = true;
};

class Join : public DecodeStage {
 public:
  void push(std::string_view token) override {
    if (!std::exchange(is_first_, false)) emit(" ");
    emit(token);
  }

 private:
  bool is_first_ = true;
};

bool fuses(DecodeStep::Kind kind) { return kind == DecodeStep::Kind::kFuse || kind == DecodeStep::Kind::kByteLevel; }

std::unique_ptr<DecodeStage> make_stage(const DecodeStep& step, bool is_fused) {
  switch (step.kind) {
    case DecodeStep::Kind::kReplace:
      return std::make_unique<Replace>(step);
    case DecodeStep::Kind::kByteFallback:
      return std::make_unique<ByteFallback>();
    case DecodeStep::Kind::kFuse:
      return std::make_unique<Fuse>();
    case DecodeStep::Kind::kStrip:
      if (is_fused) return std::make_unique<StripWhole>(step);
      return std::make_unique<StripEach>(step);
    case DecodeStep::Kind::kByteLevel:
      return std::make_unique<ByteLevel>();
    case DecodeStep::Kind::kMetaspace:
      return std::make_unique<Metaspace>(step);
    case DecodeStep::Kind::kJoin:
      return std::make_unique<Join>();
  }
  check_failed("a known decode step", __FILE__, __LINE__);
}

}  // namespace

TokenTextStream::TokenTextStream(const std::vector<DecodeStep>& steps) {
  bool is_fused = false;
  for (const DecodeStep& step : steps) {
    stages_.push_back(make_stage(step, is_fused));
    is_fused = is_fused || fuses(step.kind);
  }
  stages_.push_back(std::make_unique<Collect>());
  for (std::size_t i = 0; i + 1 < stages_.size(); ++i) stages_[i]->set_next(stages_[i + 1].get());
}

TokenTextStream::TokenTextStream(TokenTextStream&&) noexcept = default;
TokenTextStream::~TokenTextStream() = default;

void TokenTextStream::push(std::string_view token, std::string& out) {
  stages_.front()->push(token);
  static_cast<Collect&>(*stages_.back()).take(out);
}

void TokenTextStream::finish(std::string& out) {
  for (const auto& stage : stages_) stage->finish();
  static_cast<Collect&>(*stages_.back()).take(out);
}

}  // namespace awq::text
