#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace awq::text {

struct EncodeOptions {
  /// Let the post-processor add its special tokens (BOS).
  bool add_special_tokens = false;
  /// Recognise special tokens written in the text. Off for text that comes from users of a server.
  bool parse_special = true;
};

/// Ids to text, one id at a time. The tokenizer that made it must outlive it.
class TextStream {
 public:
  virtual ~TextStream() = default;
  /// Appends the text that the id settles.
  virtual void push(std::int32_t id, std::string& out) = 0;
  /// Appends the text that was held back; call once, at the end.
  virtual void finish(std::string& out) = 0;
};

/// Text to token ids and back, as the Hugging Face `tokenizers` library does it. Immutable: safe to use from many
/// threads at once.
class Tokenizer {
 public:
  /// Reads tokenizer.json of a model folder, or tokenizer.model where there is none.
  /// Throws kNotFound (neither is there), kCorruptFile, kUnsupported (a model or stage that is not implemented).
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& folder);
  /// `name` is used in messages.
  static std::unique_ptr<Tokenizer> from_json(std::string_view json, const std::string& name);
  /// A SentencePiece model (protobuf) of type BPE.
  static std::unique_ptr<Tokenizer> from_sentencepiece(std::string_view bytes, const std::string& name);

  virtual ~Tokenizer() = default;

  /// Ids of `text`. Bytes that are not valid UTF-8 are read as U+FFFD.
  virtual std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;

  /// Text of `ids`, always valid UTF-8. Ids outside the vocabulary give nothing.
  virtual std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = true) const = 0;

  /// One more than the largest id in use (vocabulary and added tokens).
  virtual std::int32_t vocab_size() const = 0;
  virtual std::optional<std::int32_t> token_id(std::string_view token) const = 0;
  /// Stored form of a token, as in the vocabulary; empty for an id that is not in use.
  virtual std::string token(std::int32_t id) const = 0;
  virtual bool is_special(std::int32_t id) const = 0;
  /// The ids that the post-processor puts in front of a sequence (BOS), in order.
  virtual std::vector<std::int32_t> prefix_ids() const = 0;
  /// decode() in pieces; what StreamDecoder stands on.
  virtual std::unique_ptr<TextStream> stream(bool skip_special_tokens) const;
};

/// Turns a growing list of ids into pieces of valid UTF-8 whose concatenation is decode() of all ids.
/// A piece is held back while it could still change (an incomplete character).
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true);

  /// Takes ids whose text is known already: later ids are decoded as what follows them, and no piece repeats any of
  /// their text, not even what the decoder holds back (a line feed that is a byte of its own). Of a character that
  /// begins in `ids` and ends later nothing is known: it comes whole. Call before push().
  void skip(std::span<const std::int32_t> ids);
  /// Takes the next id and returns the text it completes; often empty in the middle of a character.
  std::string push(std::int32_t id);
  /// Text that was held back; call once at the end.
  std::string finish();

 private:
  void drop_known(std::string& out);

  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::unique_ptr<TextStream> stream_;
  std::string known_;  ///< text of skip() that the stream still holds back
};

}  // namespace awq::text
