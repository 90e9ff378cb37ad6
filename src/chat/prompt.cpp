#include "chat/prompt.h"

#include <algorithm>
#include <utility>

#include "text/utf8.h"

namespace awq::chat {
namespace {

using Json = file::OrderedJson;

// Stand-ins for control tokens in messages while the template works: private characters that no text has.
constexpr char32_t kFirstStandIn = 0x10F000;
constexpr std::size_t kMaxControl = 2048;

std::string stand_in(std::size_t index) {
  std::string out;
  text::append_utf8(out, kFirstStandIn + static_cast<char32_t>(index));
  return out;
}

/// Calls `change` with every text below; keys are the client's choice of words for tools, not for the model.
template <typename F>
void each_text(Json& json, const F& change) {
  if (json.is_string()) {
    change(json.get_ref<std::string&>());
  } else if (json.is_structured()) {
    for (auto& item : json) each_text(item, change);
  }
}

}  // namespace

PromptEncoder::PromptEncoder(const text::Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.is_special(id)) continue;
    std::string token = tokenizer.token(id);
    // Templates look for these in what a model said, to leave old thoughts out.
    if (token.empty() || token == "<think>" || token == "</think>") continue;
    control_.push_back(std::move(token));
  }
  std::stable_sort(control_.begin(), control_.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
  if (control_.size() > kMaxControl) control_.resize(kMaxControl);
}

Prompt PromptEncoder::encode(const templates::ChatTemplate& chat, const Json& messages,
                             const templates::RenderOptions& options) const {
  Json guarded = messages;
  templates::RenderOptions with = options;
  bool any = false;
  const auto guard = [&](std::string& text) {
    // A stand-in that a client sends would be taken for one of ours.
    for (std::size_t at = 0; (at = text.find("\xF4\x8F", at)) != std::string::npos;) {
      const text::Scalar c = text::scalar_at(text, at);
      if (c.value >= kFirstStandIn && c.value < kFirstStandIn + kMaxControl) {
        text.replace(at, c.bytes, text::kReplacementUtf8);
      } else {
        at += c.bytes;
      }
    }
    for (std::size_t i = 0; i < control_.size(); ++i) {
      for (std::size_t at = 0; (at = text.find(control_[i], at)) != std::string::npos; any = true) {
        text.replace(at, control_[i].size(), stand_in(i));
      }
    }
  };
  each_text(guarded, guard);
  each_text(with.tools, guard);
  each_text(with.documents, guard);

  const std::string rendered = chat.render(guarded, with);
  Prompt out;
  if (!any) {
    out.text = rendered;
    out.ids = tokenizer_.encode(rendered, {.add_special_tokens = false});
    return out;
  }
  std::string piece;
  const auto flush = [&] {
    if (piece.empty()) return;
    const std::vector<std::int32_t> ids = tokenizer_.encode(piece, {.add_special_tokens = false});
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    out.text += std::exchange(piece, {});
  };
  for (std::size_t at = 0; at < rendered.size();) {
    const text::Scalar c = text::scalar_at(rendered, at);
    if (c.value >= kFirstStandIn && c.value < kFirstStandIn + control_.size()) {
      flush();
      const std::string& token = control_[c.value - kFirstStandIn];
      const std::vector<std::int32_t> ids =
          tokenizer_.encode(token, {.add_special_tokens = false, .parse_special = false});
      out.ids.insert(out.ids.end(), ids.begin(), ids.end());
      out.text += token;
    } else {
      piece.append(rendered, at, c.bytes);
    }
    at += c.bytes;
  }
  flush();
  return out;
}

}  // namespace awq::chat
