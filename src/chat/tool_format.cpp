#include "chat/tool_format.h"

#include <algorithm>

#include "base/check.h"
#include "chat/xml_calls.h"
#include "grammar/json_schema.h"

namespace awq::chat {
namespace {

using file::OrderedJson;
using grammar::Grammar;
using grammar::NodeId;

struct Tool {
  std::string name;
  OrderedJson parameters;
};

std::vector<Tool> read_tools(const OrderedJson& tools) {
  if (!tools.is_array() || tools.empty()) fail(ErrorCode::kInvalidArgument, "tools: expected a list that is not empty");
  std::vector<Tool> out;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const OrderedJson& tool = tools[i];
    const bool has_function = tool.is_object() && tool.contains("function") && tool["function"].is_object();
    if (!has_function) fail(ErrorCode::kInvalidArgument, "tools[{}].function: expected an object", i);
    const OrderedJson& function = tool["function"];
    if (!function.contains("name") || !function["name"].is_string() ||
        function["name"].get_ref<const std::string&>().empty()) {
      fail(ErrorCode::kInvalidArgument, "tools[{}].function.name: expected a text", i);
    }
    OrderedJson parameters = function.contains("parameters") && !function["parameters"].is_null()
                                 ? function["parameters"]
                                 : OrderedJson::object({{"type", "object"}, {"properties", OrderedJson::object()}});
    if (!parameters.is_object())
      fail(ErrorCode::kInvalidArgument, "tools[{}].function.parameters: expected an object", i);
    if (!parameters.contains("type") && !parameters.contains("$ref")) parameters["type"] = "object";
    out.push_back({function["name"].get<std::string>(), std::move(parameters)});
  }
  return out;
}

/// One call as the format writes it, without what stands around calls.
NodeId one_call(Grammar& g, ToolFormat format, const Tool& tool) {
  NodeId arguments = 0;
  try {
    if (is_xml(format)) return add_xml_call(g, format, tool.name, tool.parameters);
    arguments = grammar::add_json_schema(g, tool.parameters);
  } catch (Error& error) {
    error.add_note("parameters of tool " + printable(tool.name, 60));
    throw;
  }
  if (format == ToolFormat::kMistralNamed) return g.sequence({g.text(tool.name + "[ARGS]"), arguments});
  const char* key = format == ToolFormat::kLlama3 ? "parameters" : "arguments";
  return g.sequence(
      {g.text("{\"name\": " + OrderedJson(tool.name).dump() + ", \"" + key + "\": "), arguments, g.text("}")});
}

}  // namespace

ToolFormat detect_tool_format(std::string_view source) {
  const auto has = [&](std::string_view text) { return source.find(text) != std::string_view::npos; };
  if (has("[TOOL_CALLS]")) return has("[ARGS]") ? ToolFormat::kMistralNamed : ToolFormat::kMistral;
  // Some families put other notations inside the same tags.
  if (has("<tool_call>") && has("<function=") && has("<parameter=")) return ToolFormat::kQwenXml;
  if (has("<tool_call>") && has("<arg_key>") && has("<arg_value>")) return ToolFormat::kGlm;
  if (has("<tool_call>") && !has("<function=") && !has("<arg_key>") && !has("<invoke")) return ToolFormat::kHermes;
  if (has("<|python_tag|>") || (has("Environment: ipython") && has("\"parameters\""))) return ToolFormat::kLlama3;
  return ToolFormat::kNone;
}

const char* tool_format_name(ToolFormat format) {
  constexpr const char* kNames[] = {"none",          "hermes",      "llama3_json", "mistral",
                                    "mistral_named", "qwen3_coder", "glm45"};
  return kNames[static_cast<int>(format)];
}

std::span<const ToolFormat> tool_formats() {
  using enum ToolFormat;
  static constexpr ToolFormat kAll[] = {kNone, kHermes, kLlama3, kMistral, kMistralNamed, kQwenXml, kGlm};
  return kAll;
}

std::vector<std::string> tool_markers(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
    case ToolFormat::kQwenXml:
      return {"<tool_call>", "</tool_call>", "<think>", "</think>"};
    case ToolFormat::kGlm:
      return {"<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>",
              "<arg_value>", "</arg_value>", "<think>",   "</think>"};
    case ToolFormat::kLlama3:
      return {"<|python_tag|>", "<think>", "</think>"};
    case ToolFormat::kMistral:
    case ToolFormat::kMistralNamed:
      return {"[TOOL_CALLS]", "[ARGS]", "<think>", "</think>"};
    case ToolFormat::kNone:
      break;
  }
  return {"<think>", "</think>"};
}

Grammar tool_call_grammar(ToolFormat format, const OrderedJson& tools, const ToolChoice& choice) {
  if (format == ToolFormat::kNone) {
    fail(ErrorCode::kUnsupported, "tool_choice: the chat template of this model shows no known format of tool calls");
  }
  Grammar g;
  const grammar::RuleId root = g.declare("root");
  const grammar::RuleId call_rule = g.declare("call");
  std::vector<NodeId> calls;
  for (const Tool& tool : read_tools(tools)) {
    if (choice.name.empty() || tool.name == choice.name) calls.push_back(one_call(g, format, tool));
  }
  if (calls.empty()) {
    fail(ErrorCode::kInvalidArgument, "tool_choice: no tool is called \"{}\"", printable(choice.name, 60));
  }
  g.define(call_rule, g.choice(std::move(calls)));
  NodeId call = g.rule(call_rule);
  const auto list = [&](NodeId first, NodeId more) {
    if (!choice.parallel) return first;
    return g.sequence({first, g.repeat(more, 0, 31)});
  };
  NodeId body = 0;
  switch (format) {
    case ToolFormat::kHermes:
      call = g.sequence({g.text("<tool_call>\n"), call, g.text("\n</tool_call>")});
      body = list(call, g.sequence({g.text("\n"), call}));
      break;
    case ToolFormat::kQwenXml:
      call = g.sequence({g.text("<tool_call>\n"), call, g.text("</tool_call>")});
      body = list(call, g.sequence({g.text("\n"), call}));
      break;
    case ToolFormat::kGlm:
      call = g.sequence({g.text("<tool_call>"), call, g.text("</tool_call>")});
      body = list(call, g.sequence({g.optional(g.text("\n")), call}));
      break;
    case ToolFormat::kMistral:
      body = g.sequence({g.text("[TOOL_CALLS]["), list(call, g.sequence({g.text(", "), call})), g.text("]")});
      break;
    case ToolFormat::kMistralNamed:
      call = g.sequence({g.text("[TOOL_CALLS]"), call});
      body = list(call, call);
      break;
    default:
      body = list(call, g.sequence({g.text("; "), call}));
  }
  g.define(root, body);
  if (choice.after_reasoning) add_reasoning_prefix(g);
  return g;
}

void add_reasoning_prefix(Grammar& g) {
  const NodeId blank = g.repeat(g.text("\n"), 0, 2);
  const NodeId answer = g.sequence({blank, g.rule(g.start())});
  const grammar::RuleId start = g.declare("thought");
  g.define(start, add_text_until(g, "</think>", answer));
  g.set_start(start);
}

}  // namespace awq::chat
