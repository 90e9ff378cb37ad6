#include "text/json_tokenizer.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "text/pipeline.h"
#include "text/tokenizer.h"

namespace awq::text {
namespace {

constexpr std::uint64_t kMaxJsonBytes = 128ULL << 20;
constexpr std::size_t kMaxMerges = std::size_t{1} << 23;
constexpr std::size_t kMaxAddedTokens = std::size_t{1} << 16;

std::int32_t read_id(const JsonField& field) { return static_cast<std::int32_t>(field.integer(0, kMaxTokenId)); }

/// Spares the hundred thousand ids of a good file the building of a path for an error message.
bool is_plain_id(const file::Json& value) {
  return value.is_number_unsigned() && value.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMaxTokenId);
}

Vocab read_vocab(const JsonField& field) {
  if (!field.is_object()) field.corrupt(field.json().type_name(), "an object of tokens and ids");
  Vocab vocab(field.json().size());
  for (const auto& [token, value] : field.json().items()) {
    const std::int32_t id = is_plain_id(value) ? value.get<std::int32_t>() : read_id(field.at(token));
    if (vocab.add(token, id) == Vocab::Added::kIdTwice) {
      field.corrupt(fmt::format("id {} for \"{}\" and for \"{}\"", id, vocab.token(id), token), "different ids");
    }
  }
  return vocab;
}

struct MergeText {
  std::string_view left;
  std::string_view right;
};

/// A pair of strings, or one string with one space, which older files have.
MergeText read_merge_text(const JsonField& field) {
  if (field.is_array()) {
    if (field.size() != 2) field.corrupt(fmt::format("{} parts", field.size()), "2");
    return {field.item(0).string(), field.item(1).string()};
  }
  const std::string_view text = field.string();
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
    field.corrupt(text, "two tokens with one space between them");
  }
  return {text.substr(0, space), text.substr(space + 1)};
}

std::vector<BpeMerge> read_merges(const JsonField& field, const Vocab& vocab, const std::string& prefix) {
  if (field.size() > kMaxMerges) field.corrupt(fmt::format("{} merges", field.size()), "at most 8388608");
  std::vector<BpeMerge> merges;
  merges.reserve(field.size());
  const auto find = [&](std::string_view token, std::size_t index) {
    const std::optional<std::int32_t> id = vocab.find(token);
    if (!id) field.item(index).corrupt("the unknown token \"" + std::string(token) + "\"", "tokens of the vocabulary");
    return *id;
  };
  std::string joined;
  for (std::size_t i = 0; i < field.size(); ++i) {
    const file::Json& value = field.json()[i];
    if (value.is_string() && value.get_ref<const std::string&>().starts_with("#version")) continue;
    const MergeText text = read_merge_text(field.element(value));
    if (text.right.size() < prefix.size()) field.item(i).corrupt(text.right, "a token with the subword prefix");
    joined.assign(text.left).append(text.right.substr(prefix.size()));
    merges.push_back({.left = find(text.left, i),
                      .right = find(text.right, i),
                      .result = find(joined, i),
                      .rank = static_cast<std::uint32_t>(i)});
  }
  return merges;
}

void read_model(const JsonField& model, PipelineParts& parts) {
  const std::string type = model.string_or("type", model.get("merges") ? "BPE" : "without a type");
  if (type != "BPE") model.unsupported("model \"" + type + "\" is not implemented, expected BPE");
  parts.vocab = read_vocab(model.at("vocab"));
  parts.bpe.ignore_merges = model.boolean_or("ignore_merges", false);
  parts.bpe.byte_fallback = model.boolean_or("byte_fallback", false);
  parts.bpe.fuse_unk = model.boolean_or("fuse_unk", false);
  parts.bpe.continuing_subword_prefix = model.string_or("continuing_subword_prefix", "");
  parts.bpe.end_of_word_suffix = model.string_or("end_of_word_suffix", "");
  if (const std::optional<JsonField> unk = model.get("unk_token")) {
    parts.bpe.unk_id = parts.vocab.find(unk->string());
    if (!parts.bpe.unk_id) unk->corrupt(unk->string(), "a token of the vocabulary");
  }
  parts.merges = read_merges(model.at("merges"), parts.vocab, parts.bpe.continuing_subword_prefix);
}

void read_added_tokens(const JsonField& list, PipelineParts& parts) {
  if (list.size() > kMaxAddedTokens) list.corrupt(fmt::format("{} tokens", list.size()), "at most 65536");
  for (std::size_t i = 0; i < list.size(); ++i) {
    const JsonField field = list.item(i);
    AddedToken token = read_added_token(field, read_id(field.at("id")));
    // The reference takes the id of the vocabulary, whatever the file says here.
    if (const std::optional<std::int32_t> id = parts.vocab.find(token.content)) token.id = *id;
    parts.added.push_back(std::move(token));
  }
}

PipelineParts read_parts(const file::Json& json, const std::string& name) {
  const JsonField root(json, name);
  PipelineParts parts;
  parts.name = name;
  if (const std::string version = root.string_or("version", "1.0"); version != "1.0") {
    root.at("version").unsupported("version \"" + version + "\", expected 1.0");
  }
  read_model(root.at("model"), parts);
  if (const auto added = root.get("added_tokens")) read_added_tokens(*added, parts);
  if (const auto normalizer = root.get("normalizer")) parts.normalizer = read_normalizer(*normalizer);
  if (const auto field = root.get("pre_tokenizer")) {
    const bool can_leave_bytes = parts.bpe.continuing_subword_prefix.empty() && parts.bpe.end_of_word_suffix.empty() &&
                                 BpeModel::has_byte_alphabet(parts.vocab);
    parts.pretokenizer = read_pretokenizer(*field, can_leave_bytes ? &parts.bpe.byte_level : nullptr);
  }
  if (const auto post = root.get("post_processor")) parts.special = read_post_processor(*post);
  if (const auto decoder = root.get("decoder")) parts.decoder = read_decoder(*decoder);
  return parts;
}

}  // namespace

AddedToken read_added_token(const JsonField& field, std::int32_t id) {
  return {.id = id,
          .content = field.at("content").string(),
          .single_word = field.boolean_or("single_word", false),
          .lstrip = field.boolean_or("lstrip", false),
          .rstrip = field.boolean_or("rstrip", false),
          .normalized = field.boolean_or("normalized", true),
          .special = field.boolean_or("special", false)};
}

std::unique_ptr<Tokenizer> Tokenizer::from_json(std::string_view json, const std::string& name) {
  return PipelineTokenizer::create(read_parts(file::parse_json(json, name, {.max_bytes = kMaxJsonBytes}), name));
}

}  // namespace awq::text
