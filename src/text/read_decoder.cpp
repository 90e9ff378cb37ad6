#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "text/decoder.h"
#include "text/split_behavior.h"
#include "text/utf8.h"

namespace awq::text {
namespace {

constexpr std::size_t kMaxSteps = 32;
constexpr std::size_t kMaxLiteral = 256;

std::string short_string(const JsonField& field) {
  if (field.string().size() > kMaxLiteral) {
    field.corrupt(fmt::format("{} bytes", field.string().size()), fmt::format("at most {}", kMaxLiteral));
  }
  return field.string();
}

bool is_one_character(const std::string& text) { return !text.empty() && scalar_at(text, 0).bytes == text.size(); }

std::string one_character(const JsonField& field) {
  if (!is_one_character(field.string())) field.corrupt(field.string(), "one character");
  return field.string();
}

DecodeStep read_replace(const JsonField& field) {
  const JsonField pattern = field.at("pattern");
  if (pattern.get("Regex")) pattern.unsupported("a Replace decoder with a Regex is not implemented");
  DecodeStep step{.kind = DecodeStep::Kind::kReplace,
                  .text = short_string(pattern.at("String")),
                  .content = short_string(field.at("content"))};
  if (step.text.empty()) pattern.corrupt("an empty string", "a text to replace");
  return step;
}

void read_steps(const JsonField& field, std::vector<DecodeStep>& out) {
  const std::string type = field.at("type").string();
  if (out.size() >= kMaxSteps) field.unsupported(fmt::format("more than {} decoders", kMaxSteps));
  if (type == "Sequence") {
    const JsonField list = field.at("decoders");
    for (std::size_t i = 0; i < list.size(); ++i) read_steps(list.item(i), out);
  } else if (type == "ByteLevel") {
    out.push_back({.kind = DecodeStep::Kind::kByteLevel});
  } else if (type == "ByteFallback") {
    out.push_back({.kind = DecodeStep::Kind::kByteFallback});
  } else if (type == "Fuse") {
    out.push_back({.kind = DecodeStep::Kind::kFuse});
  } else if (type == "Replace") {
    out.push_back(read_replace(field));
  } else if (type == "Strip") {
    out.push_back({.kind = DecodeStep::Kind::kStrip,
                   .text = one_character(field.at("content")),
                   .start = static_cast<std::size_t>(field.integer_or("start", 0, 0, 1024)),
                   .stop = static_cast<std::size_t>(field.integer_or("stop", 0, 0, 1024))});
  } else if (type == "Metaspace") {
    const std::optional<JsonField> mark = field.get("replacement");
    out.push_back({.kind = DecodeStep::Kind::kMetaspace,
                   .text = mark ? one_character(*mark) : "\xE2\x96\x81",
                   .drop_first = read_prepend_scheme(field) != "never"});
  } else {
    field.unsupported("decoder \"" + type + "\" is not implemented");
  }
}

/// Behind a stage that makes one text of all tokens, only stages that can work on pieces of that text may stand.
void check_order(const JsonField& field, const std::vector<DecodeStep>& steps) {
  bool is_fused = false;
  for (const DecodeStep& step : steps) {
    using Kind = DecodeStep::Kind;
    const bool needs_tokens = step.kind == Kind::kByteFallback || step.kind == Kind::kByteLevel ||
                              step.kind == Kind::kMetaspace ||
                              (step.kind == Kind::kReplace && !is_one_character(step.text));
    if (is_fused && needs_tokens) field.unsupported("this decoder after one that joins the tokens is not implemented");
    is_fused = is_fused || step.kind == Kind::kFuse || step.kind == Kind::kByteLevel;
  }
}

}  // namespace

std::vector<DecodeStep> read_decoder(const JsonField& field) {
  std::vector<DecodeStep> steps;
  read_steps(field, steps);
  check_order(field, steps);
  return steps;
}

}  // namespace awq::text
