#include "server/openai/bodies.h"

namespace awq::server {
namespace {

OrderedJson tool_call_json(const ParsedText::ToolCall& call) {
  return {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

OrderedJson tool_call_delta(const ParsedText::ToolCall& call) {
  OrderedJson out{{"index", call.index}};
  OrderedJson function = OrderedJson::object();
  if (!call.id.empty()) {
    out["id"] = call.id;
    out["type"] = "function";
    function["name"] = call.name;
  }
  function["arguments"] = call.arguments;
  out["function"] = std::move(function);
  return out;
}

void add_finish(OrderedJson& out, const Choice& choice, bool last) {
  out["finish_reason"] = last ? OrderedJson(choice.finish_reason()) : OrderedJson(nullptr);
  if (last) out["stop_reason"] = choice.stop_reason();
}

void add_ids(OrderedJson& out, const JobSpec& spec, const std::vector<std::int32_t>& ids) {
  if (spec.common.return_token_ids) out["token_ids"] = ids;
}

}  // namespace

OrderedJson usage_json(const Usage& usage) {
  OrderedJson out{{"prompt_tokens", usage.prompt_tokens},
                  {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
                  {"completion_tokens", usage.completion_tokens}};
  if (usage.cached_tokens >= 0) out["prompt_tokens_details"] = {{"cached_tokens", usage.cached_tokens}};
  return out;
}

OrderedJson envelope(const JobSpec& spec, const std::string& fingerprint) {
  const char* object = !spec.chat           ? "text_completion"
                       : spec.common.stream ? "chat.completion.chunk"
                                            : "chat.completion";
  return {{"id", spec.id},
          {"object", object},
          {"created", spec.created},
          {"model", spec.model},
          {"system_fingerprint", fingerprint}};
}

OrderedJson chat_choice(const JobSpec& spec, const WholeChoice& whole, const Choice& choice) {
  OrderedJson message{{"role", "assistant"}};
  const bool only_calls = whole.text.empty() && !whole.tool_calls.empty();
  message["content"] = only_calls ? OrderedJson(nullptr) : OrderedJson(whole.text);
  if (!whole.reasoning.empty()) {
    message["reasoning"] = whole.reasoning;
    message["reasoning_content"] = whole.reasoning;
  }
  if (!whole.tool_calls.empty()) {
    OrderedJson calls = OrderedJson::array();
    for (const ParsedText::ToolCall& call : whole.tool_calls) calls.push_back(tool_call_json(call));
    message["tool_calls"] = std::move(calls);
  }
  OrderedJson out{{"index", whole.index}, {"message", std::move(message)}, {"logprobs", whole.logprobs}};
  add_finish(out, choice, true);
  add_ids(out, spec, whole.ids);
  return out;
}

OrderedJson completion_choice(const JobSpec& spec, const WholeChoice& whole, const Choice& choice) {
  OrderedJson out{{"index", whole.index}, {"text", whole.text}, {"logprobs", whole.logprobs}};
  add_finish(out, choice, true);
  if (!whole.prompt_logprobs.is_null()) out["prompt_logprobs"] = whole.prompt_logprobs;
  add_ids(out, spec, whole.ids);
  if (spec.common.return_token_ids) out["prompt_token_ids"] = whole.prompt_ids;
  return out;
}

OrderedJson chat_role_delta(std::int64_t index) {
  return {{"index", index},
          {"delta", {{"role", "assistant"}, {"content", ""}}},
          {"logprobs", nullptr},
          {"finish_reason", nullptr}};
}

OrderedJson chat_delta(const JobSpec& spec, std::int64_t index, const Choice& choice, const Choice::News& news,
                       OrderedJson logprobs, bool last) {
  OrderedJson delta = OrderedJson::object();
  if (!news.text.reasoning.empty()) {
    delta["reasoning"] = news.text.reasoning;
    delta["reasoning_content"] = news.text.reasoning;
  }
  if (!news.text.content.empty()) delta["content"] = news.text.content;
  if (!news.text.tool_calls.empty()) {
    OrderedJson calls = OrderedJson::array();
    for (const ParsedText::ToolCall& call : news.text.tool_calls) calls.push_back(tool_call_delta(call));
    delta["tool_calls"] = std::move(calls);
  }
  OrderedJson out{{"index", index}, {"delta", std::move(delta)}, {"logprobs", std::move(logprobs)}};
  add_finish(out, choice, last);
  add_ids(out, spec, news.ids);
  return out;
}

OrderedJson completion_delta(const JobSpec& spec, std::int64_t index, const Choice& choice, const Choice::News& news,
                             OrderedJson logprobs, bool last) {
  OrderedJson out{{"index", index}, {"text", news.text.content}, {"logprobs", std::move(logprobs)}};
  add_finish(out, choice, last);
  add_ids(out, spec, news.ids);
  return out;
}

std::string to_line(const OrderedJson& json) { return file::to_line(json); }

}  // namespace awq::server
