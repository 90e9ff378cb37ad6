#include "chat/tool_format.h"

#include <algorithm>

#include "base/check.h"
#include "grammar/json_rules.h"
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
  if (has("<tool_call>") && !has("<function=") && !has("<arg_key>") && !has("<invoke")) return ToolFormat::kHermes;
  if (has("<|python_tag|>") || (has("Environment: ipython") && has("\"parameters\""))) return ToolFormat::kLlama3;
  return ToolFormat::kNone;
}

const char* tool_format_name(ToolFormat format) {
  constexpr const char* kNames[] = {"none", "hermes", "llama3_json", "mistral", "mistral_named"};
  return kNames[static_cast<int>(format)];
}

std::vector<std::string> tool_markers(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
      return {"<tool_call>", "</tool_call>", "<think>", "</think>"};
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
  // One rule for each length of "</think>" that has been read; another character leads back as far as it must. Only
  // the first character of the mark can begin it again.
  constexpr std::string_view kEnd = "</think>";
  std::vector<grammar::RuleId> states;
  for (std::size_t i = 0; i <= kEnd.size(); ++i) states.push_back(g.declare("thought"));
  for (std::size_t i = 0; i < kEnd.size(); ++i) {
    const auto next = static_cast<char32_t>(kEnd[i]);
    std::vector<grammar::CharRange> known = {{next, next}};
    std::vector<NodeId> ways = {g.sequence({g.text(std::string(1, kEnd[i])), g.rule(states[i + 1])})};
    if (i > 0) {
      known.push_back({'<', '<'});
      ways.push_back(g.sequence({g.text("<"), g.rule(states[1])}));
    }
    const grammar::CharSet others = grammar::CharSet(std::move(known)).complement();
    ways.push_back(g.sequence({g.char_class(others), g.rule(states[0])}));
    g.define(states[i], g.choice(std::move(ways)));
  }
  const NodeId blank = g.repeat(g.text("\n"), 0, 2);
  g.define(states[kEnd.size()], g.sequence({blank, g.rule(g.start())}));
  g.set_start(states[0]);
}

}  // namespace awq::chat
