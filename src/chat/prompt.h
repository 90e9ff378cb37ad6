#pragma once

#include <string>
#include <utility>
#include <vector>

#include "file/json.h"
#include "template/chat_template.h"
#include "text/tokenizer.h"

namespace awq::chat {

struct Prompt {
  std::string text;  ///< as the template renders it
  std::vector<std::int32_t> ids;
};

/// Conversations to token ids. What a message, a tool or a document says is data: where its text looks like a control
/// token of the model ("<|im_end|>"), it is encoded as the characters it is written with, so that nobody can end a
/// message or begin another from inside one. Control tokens of the template itself are control tokens.
/// Immutable: safe to use from many threads. The tokenizer must outlive it.
class PromptEncoder {
 public:
  explicit PromptEncoder(const text::Tokenizer& tokenizer);

  /// Throws what ChatTemplate::render() throws.
  Prompt encode(const templates::ChatTemplate& chat, const file::OrderedJson& messages,
                const templates::RenderOptions& options) const;

 private:
  const text::Tokenizer& tokenizer_;
  std::vector<std::string> control_;  ///< texts of control tokens, longest first
};

}  // namespace awq::chat
