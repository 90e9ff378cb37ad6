#include "text/post_processor.h"

#include <optional>

#include "base/check.h"
#include "text/vocab.h"

namespace awq::text {
namespace {

constexpr std::size_t kMaxTemplateIds = 1024;

std::int32_t read_id(const JsonField& field) { return static_cast<std::int32_t>(field.integer(0, kMaxTokenId)); }

SpecialIds read_template(const JsonField& field) {
  SpecialIds out;
  const JsonField pieces = field.at("single");
  const JsonField special_tokens = field.at("special_tokens");
  bool seen_sequence = false;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const JsonField piece = pieces.item(i);
    if (const std::optional<JsonField> sequence = piece.get("Sequence")) {
      if (seen_sequence || sequence->at("id").string() != "A") sequence->unsupported("expected the sequence A once");
      seen_sequence = true;
      continue;
    }
    const JsonField ids = special_tokens.at(piece.at("SpecialToken").at("id").string()).at("ids");
    for (std::size_t k = 0; k < ids.size(); ++k) {
      std::vector<std::int32_t>& side = seen_sequence ? out.suffix : out.prefix;
      if (side.size() >= kMaxTemplateIds) pieces.unsupported("more than 1024 special tokens");
      side.push_back(read_id(ids.item(k)));
    }
  }
  if (!seen_sequence) pieces.unsupported("a template without the sequence");
  return out;
}

/// RobertaProcessing and BertProcessing: ["token", id] pairs called cls and sep.
SpecialIds read_cls_sep(const JsonField& field) {
  return {.prefix = {read_id(field.at("cls").item(1))}, .suffix = {read_id(field.at("sep").item(1))}};
}

SpecialIds read_sequence(const JsonField& field) {
  SpecialIds out;
  const JsonField list = field.at("processors");
  if (list.size() > 32) list.unsupported(fmt::format("{} stages, at most 32 are read", list.size()));
  for (std::size_t i = 0; i < list.size(); ++i) {
    const SpecialIds outer = read_post_processor(list.item(i));
    out.prefix.insert(out.prefix.begin(), outer.prefix.begin(), outer.prefix.end());
    out.suffix.insert(out.suffix.end(), outer.suffix.begin(), outer.suffix.end());
  }
  return out;
}

}  // namespace

SpecialIds read_post_processor(const JsonField& field) {
  const std::string type = field.at("type").string();
  if (type == "ByteLevel") return {};  // moves offsets only
  if (type == "TemplateProcessing") return read_template(field);
  if (type == "RobertaProcessing" || type == "BertProcessing") return read_cls_sep(field);
  if (type == "Sequence") return read_sequence(field);
  field.unsupported("post-processor \"" + type + "\" is not implemented");
}

}  // namespace awq::text
