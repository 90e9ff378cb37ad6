#include "text/pipeline.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

/// Positions of symbols are 32-bit; no prompt comes near this.
constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;

class PipelineStream final : public TextStream {
 public:
  PipelineStream(const PipelineTokenizer& tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special), stream_(tokenizer.decoder()) {}

  void push(std::int32_t id, std::string& out) override {
    if (!tokenizer_.has(id) || (skip_special_ && tokenizer_.is_special(id))) return;
    stream_.push(tokenizer_.token_view(id), out);
  }
  void finish(std::string& out) override { stream_.finish(out); }

 private:
  const PipelineTokenizer& tokenizer_;
  bool skip_special_;
  TokenTextStream stream_;
};

}  // namespace

std::unique_ptr<Tokenizer> PipelineTokenizer::create(PipelineParts parts) {
  if (parts.decoder.empty()) parts.decoder.push_back({.kind = DecodeStep::Kind::kJoin});
  std::unique_ptr<PipelineTokenizer> tokenizer(new PipelineTokenizer(std::move(parts)));
  tokenizer->index_added_tokens();
  return tokenizer;
}

PipelineTokenizer::PipelineTokenizer(PipelineParts parts)
    : parts_(std::move(parts)), model_(parts_.vocab, parts_.merges, parts_.bpe), end_id_(parts_.vocab.end_id()) {
  std::vector<BpeMerge>().swap(parts_.merges);  // the model has them in its own form
}

void PipelineTokenizer::index_added_tokens() {
  for (const AddedToken& token : parts_.added) end_id_ = std::max(end_id_, token.id + 1);
  special_.assign(static_cast<std::size_t>(end_id_), false);
  for (const std::int32_t id : parts_.special_vocab) special_[static_cast<std::size_t>(id)] = true;
  for (const AddedToken& token : parts_.added) {
    const auto [same_id, is_new] = added_by_id_.try_emplace(token.id, &token);
    const bool id_taken = is_new ? parts_.vocab.has(token.id) && parts_.vocab.token(token.id) != token.content
                                 : same_id->second->content != token.content;
    if (id_taken) {
      fail(ErrorCode::kCorruptFile, "{}: added_tokens: id {} found for \"{}\", expected it to be free but it is \"{}\"",
           parts_.name, token.id, printable(token.content),
           printable(is_new ? parts_.vocab.token(token.id) : std::string_view(same_id->second->content)));
    }
    if (token.special) special_[static_cast<std::size_t>(token.id)] = true;
    added_by_content_.insert_or_assign(token.content, token.id);
    if (!token.normalized) {
      raw_tokens_.add(token.content, token);
      continue;
    }
    std::string content = token.content;
    if (!parts_.added_are_normal) normalize(parts_.normalizer.get(), content, true);
    normalized_tokens_.add(std::move(content), token);
  }
  raw_tokens_.finish();
  normalized_tokens_.finish();
  for (const std::vector<std::int32_t>* side : {&parts_.special.prefix, &parts_.special.suffix}) {
    for (const std::int32_t id : *side) {
      if (!has(id)) {
        fail(ErrorCode::kCorruptFile, "{}: post_processor: found id {}, expected one of the vocabulary", parts_.name,
             id);
      }
    }
  }
}

std::vector<std::int32_t> PipelineTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  if (text.size() > kMaxTextBytes) {
    fail(ErrorCode::kInvalidArgument, "a text of {} bytes, expected at most {}", text.size(), kMaxTextBytes);
  }
  std::string repaired;
  if (valid_utf8_prefix(text) != text.size()) {
    append_lossy_utf8(repaired, text, true);
    text = repaired;
  }
  std::vector<std::int32_t> out;
  if (options.add_special_tokens) out = parts_.special.prefix;
  MergeScratch scratch;
  std::vector<TextPart> parts;
  raw_tokens_.split(text, options.parse_special, parts);
  for (const TextPart& part : parts) {
    if (part.id >= 0) {
      out.push_back(part.id);
    } else {
      encode_run(text.substr(part.begin, part.end - part.begin), part.begin == 0, options, scratch, out);
    }
  }
  if (options.add_special_tokens) {
    out.insert(out.end(), parts_.special.suffix.begin(), parts_.special.suffix.end());
  }
  return out;
}

void PipelineTokenizer::encode_run(std::string_view run, bool is_first, const EncodeOptions& options,
                                   MergeScratch& scratch, std::vector<std::int32_t>& out) const {
  std::string normal;
  if (parts_.normalizer) {
    normal = run;
    normalize(parts_.normalizer.get(), normal, is_first);
    run = normal;
  }
  std::vector<TextPart> parts;
  normalized_tokens_.split(run, options.parse_special, parts);
  for (const TextPart& part : parts) {
    if (part.id >= 0) {
      out.push_back(part.id);
    } else {
      encode_words(run.substr(part.begin, part.end - part.begin), is_first && part.begin == 0, scratch, out);
    }
  }
}

void PipelineTokenizer::encode_words(std::string_view text, bool is_first, MergeScratch& scratch,
                                     std::vector<std::int32_t>& out) const {
  if (!parts_.pretokenizer) {
    model_.encode(text, scratch, out);
    return;
  }
  Pieces pieces(text, is_first);
  parts_.pretokenizer->apply(pieces);
  for (const Span& span : pieces.spans()) model_.encode(pieces.text(span), scratch, out);
}

std::string PipelineTokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  PipelineStream stream(*this, skip_special_tokens);
  std::string out;
  for (const std::int32_t id : ids) stream.push(id, out);
  stream.finish(out);
  return out;
}

std::unique_ptr<TextStream> PipelineTokenizer::stream(bool skip_special_tokens) const {
  return std::make_unique<PipelineStream>(*this, skip_special_tokens);
}

std::optional<std::int32_t> PipelineTokenizer::token_id(std::string_view token) const {
  if (const auto added = added_by_content_.find(token); added != added_by_content_.end()) return added->second;
  return parts_.vocab.find(token);
}

std::string_view PipelineTokenizer::token_view(std::int32_t id) const {
  if (const auto added = added_by_id_.find(id); added != added_by_id_.end()) return added->second->content;
  return parts_.vocab.token(id);
}

bool PipelineTokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < end_id_ && special_[static_cast<std::size_t>(id)];
}

}  // namespace awq::text
