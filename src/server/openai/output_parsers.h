#pragma once

#include <memory>
#include <string>
#include <vector>

#include "chat/tool_format.h"
#include "server/openai/job_spec.h"

namespace awq::server {

/// `name`: auto (looks at the template), or a name of chat::tool_format_name(). Throws kInvalidArgument.
chat::ToolFormat tool_format(const std::string& name, const std::string& template_source);

/// What an answer is made of.
struct ParserOptions {
  enum class Answer {
    kText,       ///< content, perhaps with calls in the model's own format
    kArguments,  ///< nothing but the arguments of `named_function`
    kCallList,   ///< nothing but [{"name": ..., "parameters": {...}}, ...]
  };
  Answer answer = Answer::kText;
  chat::ToolFormat tools = chat::ToolFormat::kNone;
  std::vector<std::string> tool_names;
  std::shared_ptr<const OrderedJson> tool_list;  ///< with `tools`: the request's
  bool enforced = false;                         ///< a grammar holds the answer to calls
  std::string named_function;
  bool reasoning = false;         ///< text between <think> and </think> is reasoning
  bool inside_reasoning = false;  ///< the prompt has opened it
  bool include_reasoning = true;
  bool parallel_calls = true;  ///< false: only the first call is told
};

/// What splits an answer as these say; null when all of it is content.
std::unique_ptr<OutputParser> make_output_parser(const ParserOptions& options);

}  // namespace awq::server
