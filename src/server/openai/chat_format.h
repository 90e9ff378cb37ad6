#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chat/prompt.h"
#include "server/openai/chat_fields.h"
#include "server/openai/output_parsers.h"
#include "template/chat_template.h"
#include "text/tokenizer.h"

namespace awq::server {

/// How one model writes conversations, calls and thoughts. Immutable.
class ChatFormat {
 public:
  /// `tool_parser` and `reasoning_parser`: the flags of the command line. Throws kInvalidArgument for other values.
  ChatFormat(std::unique_ptr<templates::ChatTemplate> chat_template, const text::Tokenizer& tokenizer,
             const std::string& tool_parser, const std::string& reasoning_parser);

  chat::ToolFormat tools() const { return tools_; }
  bool reasons() const { return reasons_; }

  struct Prompt {
    std::vector<std::int32_t> ids;
    bool opens_reasoning = false;  ///< the answer begins inside <think>
  };
  /// A conversation as tokens. Throws ApiError 400 for what the template refuses.
  Prompt encode(const ChatFields& fields, const ServeLimits& limits) const;

 private:
  std::unique_ptr<templates::ChatTemplate> template_;
  const text::Tokenizer& tokenizer_;
  chat::PromptEncoder encoder_;
  bool knows_developer_ = false;
  chat::ToolFormat tools_ = chat::ToolFormat::kNone;
  bool reasons_ = false;
};

}  // namespace awq::server
