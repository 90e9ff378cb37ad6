#include "text/sentencepiece_tokenizer.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/check.h"
#include "text/pipeline.h"
#include "text/sentencepiece_model.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

using Piece = SentencePieceModel::Piece;
using Type = SentencePieceModel::Type;

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

/// Pieces that merging may make. Control, unknown and byte pieces never come out of text.
bool is_mergeable(Type type) { return type == Type::kNormal || type == Type::kUserDefined || type == Type::kUnused; }

/// Rank of each piece: pieces of equal score share one, so that the leftmost pair goes first among them.
std::vector<std::uint32_t> ranks_by_score(const std::vector<Piece>& pieces) {
  std::vector<std::uint32_t> order(pieces.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return pieces[a].score > pieces[b].score; });
  std::vector<std::uint32_t> ranks(pieces.size());
  std::uint32_t rank = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i > 0 && pieces[order[i]].score < pieces[order[i - 1]].score) ++rank;
    ranks[order[i]] = rank;
  }
  return ranks;
}

/// Turns "the neighbours whose concatenation is the best piece" into merges of pairs: every split of a piece into two
/// symbols. A symbol is a mergeable piece or a single character, known or not.
class MergeBuilder {
 public:
  MergeBuilder(const std::vector<Piece>& pieces, PipelineParts& parts) : pieces_(pieces), parts_(parts) {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (is_mergeable(pieces[i].type)) symbols_.insert(pieces[i].text, static_cast<std::int32_t>(i));
    }
  }

  void run() {
    const std::vector<std::uint32_t> ranks = ranks_by_score(pieces_);
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      if (is_mergeable(pieces_[i].type)) add_splits(static_cast<std::int32_t>(i), ranks[i]);
    }
  }

 private:
  /// All splits of one piece: O(length squared), so the length is capped.
  void add_splits(std::int32_t id, std::uint32_t rank) {
    const std::string_view text = pieces_[static_cast<std::size_t>(id)].text;
    if (text.size() > LiteralSet::kMaxLength) {
      fail(ErrorCode::kUnsupported, "{}: pieces[{}]: found {} bytes, expected at most {}", parts_.name, id, text.size(),
           LiteralSet::kMaxLength);
    }
    for (std::size_t at = scalar_at(text, 0).bytes; at < text.size(); at += scalar_at(text, at).bytes) {
      const std::optional<std::int32_t> left = symbol(text.substr(0, at));
      const std::optional<std::int32_t> right = left ? symbol(text.substr(at)) : std::nullopt;
      if (left && right) parts_.merges.push_back({*left, *right, id, rank});
    }
  }

  std::optional<std::int32_t> symbol(std::string_view text) {
    if (const std::optional<std::int32_t> found = symbols_.find(text)) return found;
    if (scalar_at(text, 0).bytes != text.size()) return std::nullopt;
    const auto id = static_cast<std::int32_t>(pieces_.size() + parts_.bpe.extra_scalars.size());
    symbols_.insert(text, id);
    parts_.bpe.extra_scalars.emplace_back(text);
    return id;
  }

  const std::vector<Piece>& pieces_;
  PipelineParts& parts_;
  StringTable symbols_;
};

void read_pieces(const SentencePieceModel& model, PipelineParts& parts) {
  parts.vocab = Vocab(model.pieces.size());
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const Piece& piece = model.pieces[i];
    const auto id = static_cast<std::int32_t>(i);
    if (parts.vocab.add(piece.text, id) != Vocab::Added::kOk) {
      fail(ErrorCode::kCorruptFile, "{}: pieces[{}]: found \"{}\" a second time, expected different pieces", parts.name,
           i, printable(piece.text));
    }
    if (piece.type == Type::kControl || piece.type == Type::kUserDefined) {
      const bool is_control = piece.type == Type::kControl;
      parts.added.push_back({.id = id, .content = piece.text, .normalized = !is_control, .special = is_control});
    } else if (piece.type == Type::kUnknown) {
      parts.special_vocab.push_back(id);
    } else if (piece.type == Type::kUnused) {
      parts.bpe.unused.resize(model.pieces.size());
      parts.bpe.unused[i] = true;
    }
  }
}

void read_special_ids(const SentencePieceModel& model, const SentencePieceSettings& settings, PipelineParts& parts) {
  const auto checked = [&](std::int64_t id, std::string_view field) {
    if (id < 0 || id >= static_cast<std::int64_t>(model.pieces.size())) {
      fail(ErrorCode::kCorruptFile, "{}: trainer_spec.{}: found {}, expected 0 to {}", parts.name, field, id,
           model.pieces.size() - 1);
    }
    return static_cast<std::int32_t>(id);
  };
  parts.bpe.unk_id = checked(model.unk_id, "unk_id");
  if (settings.add_bos_token && model.bos_id >= 0) parts.special.prefix = {checked(model.bos_id, "bos_id")};
  if (settings.add_eos_token && model.eos_id >= 0) parts.special.suffix = {checked(model.eos_id, "eos_id")};
}

void check_byte_pieces(const PipelineParts& parts) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (!parts.vocab.find(fmt::format("<0x{:02X}>", byte))) {
      fail(ErrorCode::kCorruptFile, "{}: trainer_spec.byte_fallback: found no piece <0x{:02X}>, expected all 256",
           parts.name, byte);
    }
  }
}

void add_settings_tokens(const SentencePieceSettings& settings, PipelineParts& parts) {
  std::set<std::string> known;
  for (const AddedToken& token : parts.added) known.insert(token.content);
  for (const AddedToken& token : settings.added_tokens) {
    // Pieces of the model keep their own meaning, but one that the folder calls special is special.
    if (parts.vocab.has(token.id) && parts.vocab.token(token.id) == token.content) {
      if (token.special) parts.special_vocab.push_back(token.id);
    } else if (known.insert(token.content).second) {
      parts.added.push_back(token);
    }
  }
}

/// The decoder that converters write into tokenizer.json for such a model.
std::vector<DecodeStep> decoder_of(const SentencePieceModel& model) {
  using Kind = DecodeStep::Kind;
  std::vector<DecodeStep> steps = {{.kind = Kind::kReplace, .text = std::string(kSpaceMark), .content = " "},
                                   {.kind = Kind::kByteFallback},
                                   {.kind = Kind::kFuse}};
  if (model.add_dummy_prefix) steps.push_back({.kind = Kind::kStrip, .text = " ", .start = 1});
  return steps;
}

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(std::string_view bytes, const std::string& name,
                                                        const SentencePieceSettings& settings) {
  const SentencePieceModel model = read_sentencepiece_model(bytes, name);
  PipelineParts parts;
  parts.name = name;
  parts.added_are_normal = true;
  read_pieces(model, parts);
  read_special_ids(model, settings, parts);
  parts.bpe.byte_fallback = model.byte_fallback;
  parts.bpe.fuse_unk = true;
  if (model.byte_fallback) check_byte_pieces(parts);
  add_settings_tokens(settings, parts);
  MergeBuilder(model.pieces, parts).run();
  parts.normalizer = make_space_normalizer({.add_dummy_prefix = model.add_dummy_prefix,
                                            .only_first_run = !settings.legacy,
                                            .remove_extra_whitespaces = model.remove_extra_whitespaces,
                                            .escape_whitespaces = model.escape_whitespaces});
  parts.decoder = decoder_of(model);
  return PipelineTokenizer::create(std::move(parts));
}

std::unique_ptr<Tokenizer> Tokenizer::from_sentencepiece(std::string_view bytes, const std::string& name) {
  return make_sentencepiece_tokenizer(bytes, name, {});
}

}  // namespace awq::text
