#pragma once

#include "server/openai/common_fields.h"

namespace awq::server {

/// POST /v1/chat/completions, checked as far as that goes without a model.
struct ChatFields {
  CommonFields common;
  OrderedJson messages;   ///< array of objects with role, content (text or null), and what belongs to tools
  OrderedJson tools;      ///< array as it came, or null
  OrderedJson documents;  ///< array or null
  OrderedJson variables;  ///< chat_template_kwargs, an object
  enum class ToolChoice { kNone, kAuto, kRequired, kNamed };
  ToolChoice tool_choice = ToolChoice::kNone;
  std::string tool_name;  ///< with kNamed
  bool parallel_tool_calls = true;
  bool include_reasoning = true;
  std::optional<std::int64_t> thinking_token_budget;  ///< tokens of a thought
  bool add_generation_prompt = true;
  bool continue_final_message = false;
  bool add_special_tokens = false;
  std::optional<std::int64_t> max_tokens;
  std::string max_tokens_field = "max_tokens";
  std::optional<std::int64_t> logprobs;  ///< alternatives per token
};

ChatFields read_chat(const OrderedJson& body, const ServeLimits& limits, const GenerationDefaults& defaults);

/// The parts that /tokenize has too: messages, tools, template arguments.
void read_conversation(const Fields& fields, const ServeLimits& limits, ChatFields& out);

}  // namespace awq::server
