#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/vocab.h"

namespace awq::text {

/// All stages of a tokenizer. The readers of tokenizer.json and tokenizer.model fill it in.
struct PipelineParts {
  std::string name;  ///< of the file, for messages
  Vocab vocab;       ///< of the model alone
  std::vector<BpeMerge> merges;
  BpeOptions bpe;
  std::vector<AddedToken> added;            ///< ids of their own, or those of the same token in `vocab`
  bool added_are_normal = false;            ///< contents of normalized tokens are in normalized form already
  std::vector<std::int32_t> special_vocab;  ///< ids of `vocab` that decoding leaves out although no text matches them
  std::unique_ptr<Normalizer> normalizer;
  std::unique_ptr<PreTokenizer> pretokenizer;
  SpecialIds special;
  std::vector<DecodeStep> decoder;
};

/// The one implementation of Tokenizer. Order of work: added tokens in raw text, normalizer, added tokens in
/// normalized text, pre-tokenizer, model, post-processor; every run between added tokens is a fresh text to all stages.
class PipelineTokenizer final : public Tokenizer {
 public:
  /// Throws kCorruptFile when ids contradict each other.
  static std::unique_ptr<Tokenizer> create(PipelineParts parts);

  std::vector<std::int32_t> encode(std::string_view text, const EncodeOptions& options) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const override;
  std::unique_ptr<TextStream> stream(bool skip_special_tokens) const override;
  std::int32_t vocab_size() const override { return end_id_; }
  std::optional<std::int32_t> token_id(std::string_view token) const override;
  std::string token(std::int32_t id) const override { return std::string(token_view(id)); }
  bool is_special(std::int32_t id) const override;
  std::vector<std::int32_t> prefix_ids() const override { return parts_.special.prefix; }

  /// Stored form of a token; empty for an id that is not in use.
  std::string_view token_view(std::int32_t id) const;
  bool has(std::int32_t id) const { return parts_.vocab.has(id) || added_by_id_.contains(id); }
  const std::vector<DecodeStep>& decoder() const { return parts_.decoder; }

 private:
  explicit PipelineTokenizer(PipelineParts parts);
  void index_added_tokens();
  void encode_run(std::string_view run, bool is_first, const EncodeOptions& options, MergeScratch& scratch,
                  std::vector<std::int32_t>& out) const;
  void encode_words(std::string_view text, bool is_first, MergeScratch& scratch, std::vector<std::int32_t>& out) const;

  PipelineParts parts_;
  BpeModel model_;
  AddedTokenSet raw_tokens_;         ///< matched in the text as it comes
  AddedTokenSet normalized_tokens_;  ///< matched behind the normalizer
  std::unordered_map<std::int32_t, const AddedToken*> added_by_id_;
  std::unordered_map<std::string_view, std::int32_t> added_by_content_;
  std::vector<bool> special_;  ///< by id
  std::int32_t end_id_ = 0;
};

}  // namespace awq::text
