#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "server/openai/chat_fields.h"
#include "server/openai/job_spec.h"
#include "server/openai/output_parsers.h"
#include "template/chat_template.h"
#include "text/tokenizer.h"

namespace awq::server {

/// How one model writes conversations: its template, and which of its tokens a message must not be able to forge.
/// Immutable.
class ChatFormat {
 public:
  /// `tool_parser` and `reasoning_parser`: the flags of the command line. Throws kInvalidArgument for other values.
  ChatFormat(std::unique_ptr<templates::ChatTemplate> chat_template, const text::Tokenizer& tokenizer,
             const std::string& tool_parser, const std::string& reasoning_parser);

  ToolFormat tools() const { return tools_; }
  bool reasons() const { return reasons_; }

  struct Prompt {
    std::vector<std::int32_t> ids;
    bool opens_reasoning = false;  ///< it ends with <think>
  };

  const templates::ChatTemplate& chat_template() const { return *template_; }
  /// Token ids of a conversation. The text of special tokens inside messages stays text (rule: messages are data).
  /// Throws ApiError 400 for what the template refuses.
  Prompt encode(const ChatFields& fields, const ServeLimits& limits) const;

 private:
  /// Replaces special tokens in the texts of `json` by marks; `found` gets what stood there.
  void hide_special(OrderedJson& json, const std::string& mark, std::vector<std::string>& found) const;
  std::string hide_special(const std::string& text, const std::string& mark, std::vector<std::string>& found) const;
  std::string render(const OrderedJson& messages, const ChatFields& fields, const ServeLimits& limits) const;

  std::unique_ptr<templates::ChatTemplate> template_;
  const text::Tokenizer& tokenizer_;
  std::vector<std::string> special_tokens_;  ///< longest first
  std::array<bool, 256> begins_special_{};   ///< by first byte
  bool knows_developer_ = false;
  ToolFormat tools_ = ToolFormat::kNone;
  bool reasons_ = false;
};

}  // namespace awq::server
