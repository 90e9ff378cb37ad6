#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/openai/common_fields.h"

namespace awq::server {

/// What one step of a parser found in the text of a choice.
struct ParsedText {
  std::string content;
  std::string reasoning;
  struct ToolCall {
    std::int64_t index = 0;
    std::string id, name;   ///< with the first piece of a call
    std::string arguments;  ///< the next piece of them
  };
  std::vector<ToolCall> tool_calls;
};

/// Splits the text of one choice into content, reasoning and tool calls while it comes.
class OutputParser {
 public:
  virtual ~OutputParser() = default;
  virtual void push(const std::string& text, ParsedText& out) = 0;
  virtual void finish(ParsedText& out) = 0;
};

/// One HTTP request, checked and turned into requests of the engine.
struct JobSpec {
  bool chat = false;
  std::string id;      ///< "chatcmpl-..." or "cmpl-..."
  std::string model;   ///< as it was asked for
  std::string tenant;  ///< whose prompts may share cached prefixes with its own
  std::int64_t created = 0;
  CommonFields common;
  std::vector<engine::Request> requests;                       ///< one per prompt; n choices each
  std::vector<std::string> echo_texts;                         ///< empty, or what to put before each prompt's choices
  std::optional<std::int64_t> logprobs;                        ///< alternatives per token; -1: all
  bool echo_logprobs = false;                                  ///< those of the prompt go in front
  std::function<std::unique_ptr<OutputParser>()> make_parser;  ///< null: all text is content
  std::string constraint_field;                                ///< of the request, that asked for a constraint
  bool named_tool = false;  ///< the tool was the client's choice: its call ends with "stop"
};

}  // namespace awq::server
