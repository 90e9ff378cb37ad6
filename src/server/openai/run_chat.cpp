#include <ctime>

#include "server/openai/chat_format.h"
#include "server/openai/constraints.h"
#include "server/openai/job.h"
#include "server/openai/prompt.h"
#include "server/routes.h"

namespace awq::server {
namespace {

using ToolChoice = ChatFields::ToolChoice;

OrderedJson parameters_of(const OrderedJson& tool) {
  const OrderedJson& function = tool.at("function");
  const auto found = function.find("parameters");
  return found == function.end() || found->is_null() ? OrderedJson{{"type", "object"}} : *found;
}

/// What a forced call has to look like: the arguments of the named function, or a list of calls.
ConstraintSpec forced_call(const ChatFields& fields) {
  ConstraintSpec spec{.kind = ConstraintSpec::Kind::kJsonSchema};
  OrderedJson calls = OrderedJson::array();
  for (const OrderedJson& tool : fields.tools) {
    const OrderedJson& name = tool.at("function").at("name");
    if (fields.tool_choice == ToolChoice::kNamed && name == fields.tool_name) {
      spec.schema = parameters_of(tool);
      return spec;
    }
    OrderedJson call{{"type", "object"}};
    call["properties"] = {{"name", {{"const", name}}}, {"parameters", parameters_of(tool)}};
    call["required"] = {"name", "parameters"};
    call["additionalProperties"] = false;
    calls.push_back(std::move(call));
  }
  spec.schema = {{"type", "array"}, {"minItems", 1}, {"items", {{"anyOf", std::move(calls)}}}};
  if (!fields.parallel_tool_calls) spec.schema["maxItems"] = 1;
  return spec;
}

ParserOptions parser_options(const ChatFormat& chat, const ChatFields& fields, bool opens_reasoning) {
  ParserOptions out;
  out.include_reasoning = fields.include_reasoning;
  out.parallel_calls = fields.parallel_tool_calls;
  const bool constrained = fields.common.constraint.kind != ConstraintSpec::Kind::kNone;
  switch (fields.tool_choice) {
    case ToolChoice::kNone:
      break;
    case ToolChoice::kAuto:
      if (!constrained) out.tools = chat.tools();
      break;
    case ToolChoice::kRequired:
      out.tools = ToolFormat::kCallList;
      break;
    case ToolChoice::kNamed:
      out.tools = ToolFormat::kArguments;
      out.named_function = fields.tool_name;
      break;
  }
  // A constraint holds from the first token on: there is no room for reasoning.
  const bool forced = fields.tool_choice == ToolChoice::kRequired || fields.tool_choice == ToolChoice::kNamed;
  out.reasoning = chat.reasons() && !constrained && !forced;
  out.inside_reasoning = opens_reasoning;
  return out;
}

}  // namespace

void run_chat(RouteCall& call) {
  Service& service = call.service;
  ChatFields fields =
      read_chat(parse_body(call.request.body, service.limits()), service.limits(), service.model().defaults);
  call.request.body.clear();
  JobSpec spec;
  spec.chat = true;
  spec.id = "chatcmpl-" + call.scope->id();
  spec.created = std::time(nullptr);
  spec.model = service.check_model(fields.common.model);
  const ChatFormat* chat = service.model().chat;
  if (chat == nullptr)
    throw ApiError(400,
                   "this model has no chat template: use /v1/completions, or start the server with --chat-template",
                   "messages");
  resolve_sampling(service, fields.common);
  ChatFormat::Prompt prompt = chat->encode(fields, service.limits());
  const ParserOptions parsing = parser_options(*chat, fields, prompt.opens_reasoning);
  spec.make_parser = [parsing] { return make_output_parser(parsing); };
  spec.named_tool = fields.tool_choice == ToolChoice::kNamed;
  if (spec.named_tool || fields.tool_choice == ToolChoice::kRequired) fields.common.constraint = forced_call(fields);
  // The marks of calls are special tokens in some vocabularies.
  if (parsing.tools == ToolFormat::kMistral || parsing.tools == ToolFormat::kLlama3)
    fields.common.skip_special_tokens = false;
  spec.common = fields.common;
  spec.logprobs = fields.logprobs;
  std::vector<std::int32_t> ids = std::move(prompt.ids);
  check_ids(ids, service.model().vocab_size, "messages");
  truncate_prompt(ids, fields.common, service.model().max_model_len);
  if (ids.empty()) throw ApiError(400, "messages: the conversation has no tokens", "messages");
  const std::int64_t max_tokens =
      output_tokens(service, static_cast<std::int64_t>(ids.size()), fields.max_tokens, fields.max_tokens_field);
  spec.requests.push_back(engine_request(service, spec, std::move(ids), max_tokens));
  spec.requests.back().make_constraint = compile_constraint(service, fields.common.constraint);
  std::make_shared<Job>(service, std::move(spec), call.exchange, call.scope)->start();
}

}  // namespace awq::server
