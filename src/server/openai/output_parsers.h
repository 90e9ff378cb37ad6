#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/openai/job_spec.h"

namespace awq::server {

/// How a model writes calls of tools.
enum class ToolFormat {
  kNone,
  kHermes,     ///< <tool_call>{"name": "f", "arguments": {...}}</tool_call>, any number of them (Hermes, Qwen)
  kLlama3,     ///< the whole answer is {"name": "f", "parameters": {...}}, perhaps after <|python_tag|>, joined by ";"
  kMistral,    ///< [TOOL_CALLS][{"name": "f", "arguments": {...}}, ...], or [TOOL_CALLS]f{...}
  kArguments,  ///< the whole answer is the arguments of one function that the client named
  kCallList,   ///< the whole answer is [{"name": "f", "parameters": {...}}, ...]
};

/// `name`: auto (looks at the template), none, hermes, llama3_json or mistral. Throws kInvalidArgument for another.
ToolFormat tool_format(const std::string& name, const std::string& template_source);

struct ParserOptions {
  bool reasoning = false;         ///< text between <think> and </think> is reasoning
  bool inside_reasoning = false;  ///< the prompt has opened it
  bool include_reasoning = true;
  ToolFormat tools = ToolFormat::kNone;
  std::string named_function;  ///< with kArguments
  bool parallel_calls = true;  ///< false: only the first call is told
};

/// What splits an answer as these say; null when all of it is content.
std::unique_ptr<OutputParser> make_output_parser(const ParserOptions& options);

}  // namespace awq::server
