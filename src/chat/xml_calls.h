#pragma once

#include <string>
#include <string_view>

#include "chat/tool_format.h"

namespace awq::chat {

/// The notations that write each argument as an element of its own, in which a text stands as it is and everything else
/// as JSON:
///
///   Qwen3-Coder: <tool_call>\n<function=NAME>\n<parameter=KEY>\nVALUE\n</parameter>\n</function>\n</tool_call>
///   GLM 4.5:     <tool_call>NAME\n<arg_key>KEY</arg_key>\n<arg_value>VALUE</arg_value>\n</tool_call>
///
/// GLM writes the line feeds or leaves them out.
inline bool is_xml(ToolFormat format) { return format == ToolFormat::kQwenXml || format == ToolFormat::kGlm; }

/// The schema of one argument, references within `parameters` followed; null where it is not declared.
const file::OrderedJson* find_property(const file::OrderedJson& parameters, const std::string& key);
/// Whether an argument with this schema is a text and nothing else, so that it stands as it is. Values of other schemas
/// are JSON and, where they are none, texts.
bool is_plain_text(const file::OrderedJson& schema);

/// A value that a model wrote, as JSON: by its schema (null: unknown) text or JSON; Python's True, False and None
/// count.
std::string to_json_value(std::string_view written, const file::OrderedJson* schema);

/// Adds one call as the format writes it. Throws kInvalidArgument for what it cannot write or enforce.
grammar::NodeId add_xml_call(grammar::Grammar& grammar, ToolFormat format, const std::string& name,
                             const file::OrderedJson& parameters);

/// Adds any text up to and with the first `end`, then `after`. Only the first character of `end` may begin it anew.
grammar::NodeId add_text_until(grammar::Grammar& grammar, std::string_view end, grammar::NodeId after);

}  // namespace awq::chat
