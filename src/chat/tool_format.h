#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "file/json.h"
#include "grammar/grammar.h"

namespace awq::chat {

/// How a model writes calls of tools.
enum class ToolFormat {
  kNone,          ///< not known to: what it writes is content
  kHermes,        ///< <tool_call>{"name": ..., "arguments": {...}}</tool_call>, as Qwen and Hermes
  kLlama3,        ///< {"name": ..., "parameters": {...}}, perhaps after <|python_tag|>, as Llama 3.1 and later
  kMistral,       ///< [TOOL_CALLS][{"name": ..., "arguments": {...}}]
  kMistralNamed,  ///< [TOOL_CALLS]name[ARGS]{...}, as Mistral's templates since 2025
  kQwenXml,       ///< an element for each argument (xml_calls.h), as Qwen3-Coder, Step 3.5 and Nemotron 3
  kGlm,           ///< pairs of key and value (xml_calls.h), as GLM since 4.5
};

/// The format that a chat template shows its model.
ToolFormat detect_tool_format(std::string_view template_source);
const char* tool_format_name(ToolFormat format);
/// All of them.
std::span<const ToolFormat> tool_formats();
/// Texts of special tokens that are part of calls: they must be decoded, and a grammar of calls must be able to say
/// them (the `markers` of grammar::Vocabulary).
std::vector<std::string> tool_markers(ToolFormat format);

struct ToolChoice {
  bool parallel = true;          ///< more than one call may come
  std::string name{};            ///< the function that must be called; empty: any
  bool after_reasoning = false;  ///< the model thinks first, up to </think>
};

/// The grammar of an answer that is nothing but calls of these tools, each with arguments that satisfy its schema.
/// `tools` is the list of a request. Throws kInvalidArgument for tools that are malformed, a name that is not among
/// them, or a schema that cannot be enforced.
grammar::Grammar tool_call_grammar(ToolFormat format, const file::OrderedJson& tools, const ToolChoice& choice);

/// Lets a model think, up to "</think>", before it says what the grammar allows.
void add_reasoning_prefix(grammar::Grammar& grammar);

}  // namespace awq::chat
