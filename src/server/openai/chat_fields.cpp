#include "server/openai/chat_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "base/check.h"
#include "chat/scan_text.h"

namespace awq::server {
namespace {

constexpr std::int64_t kMaxInt64 = std::numeric_limits<std::int64_t>::max();

/// A text, or the texts of a list of parts as such a list.
OrderedJson read_content(const Fields& message) {
  const OrderedJson* content = message.find("content");
  if (content == nullptr) return nullptr;
  if (content->is_string()) return *content;
  if (!content->is_array()) message.wrong_type("content", "a string or a list of parts");
  OrderedJson parts = OrderedJson::array();
  for (std::size_t i = 0; i < content->size(); ++i) {
    const Fields part((*content)[i], fmt::format("{}[{}]", message.name_of("content"), i));
    const std::string type = part.text("type").value_or("text");
    if (type != "text" && type != "input_text" && type != "output_text" && type != "refusal")
      part.refuse("type", fmt::format("\"{}\" is not supported: this server reads text parts only", printable(type)));
    parts.push_back({{"type", "text"}, {"text", part.text_of({"text", "refusal"}).value_or("")}});
  }
  return parts;
}

OrderedJson read_tool_calls(const Fields& message, const OrderedJson& calls) {
  OrderedJson out = OrderedJson::array();
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const Fields call(calls[i], fmt::format("{}[{}]", message.name_of("tool_calls"), i));
    const OrderedJson* function = call.object("function");
    if (function == nullptr) call.refuse("function", "expected an object");
    const Fields inner(*function, call.name_of("function"));
    const std::optional<std::string> name = inner.text("name");
    if (!name || name->empty()) inner.refuse("name", "expected a name");
    OrderedJson arguments = "{}";
    if (const OrderedJson* given = inner.find("arguments")) {
      if (!given->is_string() && !given->is_object()) inner.wrong_type("arguments", "JSON text");
      arguments = *given;
    }
    out.push_back({{"id", call.text("id").value_or("")},
                   {"type", "function"},
                   {"function", {{"name", *name}, {"arguments", std::move(arguments)}}}});
  }
  return out;
}

OrderedJson read_message(const OrderedJson& json, std::size_t index) {
  static const std::set<std::string> kRoles = {"system", "developer", "user", "assistant", "tool", "function"};
  const Fields message(json, fmt::format("messages[{}]", index));
  const std::optional<std::string> role = message.text("role");
  if (!role) message.refuse("role", "expected a role");
  if (!kRoles.contains(*role)) {
    message.refuse("role",
                   fmt::format("\"{}\": expected system, developer, user, assistant or tool", printable(*role)));
  }
  OrderedJson out{{"role", *role}};
  out["content"] = read_content(message);
  const OrderedJson* calls = message.array("tool_calls");
  if (out["content"].is_null()) {
    if (*role != "assistant") message.refuse("content", "expected a content");
    out["content"] = "";
  }
  if (const auto name = message.text("name")) out["name"] = *name;
  if (const auto reasoning = message.text_of({"reasoning_content", "reasoning"})) out["reasoning_content"] = *reasoning;
  if (const auto id = message.text("tool_call_id")) out["tool_call_id"] = *id;
  if (calls != nullptr && !calls->empty()) {
    if (*role != "assistant") message.refuse("tool_calls", "only an assistant can call tools");
    out["tool_calls"] = read_tool_calls(message, *calls);
  }
  return out;
}

void read_tools(const Fields& fields, const ServeLimits& limits, ChatFields& out) {
  const OrderedJson* tools = fields.array("tools");
  if (tools == nullptr) return;
  if (tools->empty()) fields.refuse("tools", "expected at least one tool");
  check_limit(limits, &ServeLimits::max_tools, static_cast<std::int64_t>(tools->size()), "tools");
  std::set<std::string> names;
  std::size_t schema_bytes = 0;
  for (std::size_t i = 0; i < tools->size(); ++i) {
    const Fields tool((*tools)[i], fmt::format("tools[{}]", i));
    if (tool.text("type").value_or("") != "function") tool.refuse("type", "expected \"function\"");
    const OrderedJson* function = tool.object("function");
    if (function == nullptr) tool.refuse("function", "expected an object");
    const Fields inner(*function, tool.name_of("function"));
    const std::string name = inner.text("name").value_or("");
    if (name.empty() || name.size() > chat::kMaxNameBytes)
      inner.refuse("name", fmt::format("expected 1 to {} bytes", chat::kMaxNameBytes));
    if (!names.insert(name).second) inner.refuse("name", "two tools have this name");
    inner.text("description");
    if (const OrderedJson* parameters = inner.object("parameters")) schema_bytes += file::to_line(*parameters).size();
  }
  check_limit(limits, &ServeLimits::max_schema_bytes, static_cast<std::int64_t>(schema_bytes), "tools");
  out.tools = *tools;
  out.tool_choice = ChatFields::ToolChoice::kAuto;
}

void read_tool_choice(const Fields& fields, ChatFields& out) {
  using Choice = ChatFields::ToolChoice;
  const OrderedJson* choice = fields.find("tool_choice");
  if (choice == nullptr) return;
  if (choice->is_string()) {
    const std::string text = choice->get<std::string>();
    if (text == "none") {
      out.tool_choice = Choice::kNone;
      return;
    }
    if (text != "auto" && text != "required")
      fields.refuse("tool_choice", "expected none, auto, required or a function");
    if (out.tools.is_null()) fields.refuse("tool_choice", "there are no tools to choose from");
    out.tool_choice = text == "auto" ? Choice::kAuto : Choice::kRequired;
    return;
  }
  const Fields inner(*choice, "tool_choice");
  const OrderedJson* function = inner.object("function");
  if (function == nullptr) inner.refuse("function", "expected an object with a name");
  const std::string name = Fields(*function, "tool_choice.function").text("name").value_or("");
  const bool known = out.tools.is_array() &&
                     std::any_of(out.tools.begin(), out.tools.end(),
                                 [&](const OrderedJson& tool) { return tool.at("function").at("name") == name; });
  if (!known) fields.refuse("tool_choice", fmt::format("there is no tool \"{}\"", printable(name)));
  out.tool_choice = Choice::kNamed;
  out.tool_name = name;
}

void read_logprobs(const Fields& fields, const ServeLimits& limits, ChatFields& out) {
  const bool wanted = fields.boolean("logprobs").value_or(false);
  const std::int64_t top = fields.integer_in("top_logprobs", 0, -1, kMaxInt64);
  if (top != 0 && !wanted) fields.refuse("top_logprobs", "only with logprobs: true");
  if (limits.max_logprobs >= 0) {
    if (top == -1) fields.refuse("top_logprobs", "-1 is not allowed on this server (--max-logprobs)");
    check_limit(limits, &ServeLimits::max_logprobs, top, "top_logprobs");
  }
  if (wanted) out.logprobs = top;
  if (!wanted && !out.common.sampling.logprob_token_ids.empty())
    fields.refuse("logprob_token_ids", "only with logprobs: true");
}

}  // namespace

void read_conversation(const Fields& fields, const ServeLimits& limits, ChatFields& out) {
  const OrderedJson* messages = fields.array("messages");
  if (messages == nullptr || messages->empty()) fields.refuse("messages", "expected at least one message");
  check_limit(limits, &ServeLimits::max_messages, static_cast<std::int64_t>(messages->size()), "messages");
  out.messages = OrderedJson::array();
  for (std::size_t i = 0; i < messages->size(); ++i) out.messages.push_back(read_message((*messages)[i], i));
  read_tools(fields, limits, out);
  if (const OrderedJson* documents = fields.array("documents")) out.documents = *documents;
  if (fields.has("chat_template")) fields.refuse("chat_template", "templates of clients are not accepted");
  out.variables = OrderedJson::object();
  if (const OrderedJson* variables = fields.object("chat_template_kwargs")) out.variables = *variables;
  if (const auto effort = fields.text("reasoning_effort"); effort && !out.variables.contains("reasoning_effort"))
    out.variables["reasoning_effort"] = *effort;
  out.continue_final_message = fields.boolean("continue_final_message").value_or(false);
  const std::optional<bool> add_prompt = fields.boolean("add_generation_prompt");
  if (out.continue_final_message && add_prompt.value_or(false))
    fields.refuse("continue_final_message", "not together with add_generation_prompt");
  out.add_generation_prompt = add_prompt.value_or(!out.continue_final_message);
  out.add_special_tokens = fields.boolean("add_special_tokens").value_or(false);
}

ChatFields read_chat(const OrderedJson& body, const ServeLimits& limits, const GenerationDefaults& defaults) {
  const Fields fields(body);
  ChatFields out;
  out.common = read_common(fields, limits, defaults);
  check_choices(limits, 1, out.common.n);
  read_conversation(fields, limits, out);
  read_tool_choice(fields, out);
  read_logprobs(fields, limits, out);
  if (fields.boolean("echo").value_or(false)) fields.refuse("echo", "this server does not support it for chats");
  out.parallel_tool_calls = fields.boolean("parallel_tool_calls").value_or(true);
  out.include_reasoning = fields.boolean("include_reasoning").value_or(true);
  if (fields.has("thinking_token_budget"))
    out.thinking_token_budget = fields.integer_in("thinking_token_budget", 0, 0, kMaxInt64);
  const char* name = fields.has("max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
  out.max_tokens_field = name;
  if (fields.has(name)) out.max_tokens = fields.integer_in(name, 1, 1, kMaxInt64);
  const bool forced =
      out.tool_choice == ChatFields::ToolChoice::kRequired || out.tool_choice == ChatFields::ToolChoice::kNamed;
  if (forced && out.common.constraint.kind != ConstraintSpec::Kind::kNone)
    fields.refuse("tool_choice", "not together with a response format");
  return out;
}

}  // namespace awq::server
