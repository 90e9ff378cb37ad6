#include <ctime>

#include "server/openai/chat_format.h"
#include "server/openai/constraints.h"
#include "server/openai/job.h"
#include "server/openai/prompt.h"
#include "server/routes.h"

namespace awq::server {
namespace {

using ToolChoice = ChatFields::ToolChoice;

bool is_forced(const ChatFields& fields) {
  return fields.tool_choice == ToolChoice::kRequired || fields.tool_choice == ToolChoice::kNamed;
}

OrderedJson parameters_of(const OrderedJson& tool) {
  const OrderedJson& function = tool.at("function");
  const auto found = function.find("parameters");
  return found == function.end() || found->is_null() ? OrderedJson{{"type", "object"}} : *found;
}

/// What a forced call looks like for a model whose own format is not known: the arguments of the named function, or a
/// list of calls.
ConstraintSpec plain_call(const ChatFields& fields) {
  ConstraintSpec spec{.kind = ConstraintSpec::Kind::kJsonSchema, .field = "tools"};
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

ConstraintFactory constraint_of(const Service& service, const ChatFormat& format, const ChatFields& fields,
                                bool after_reasoning) {
  if (!is_forced(fields)) return compile_constraint(service, fields.common.constraint, after_reasoning);
  if (format.tools() == chat::ToolFormat::kNone)
    return compile_constraint(service, plain_call(fields), after_reasoning);
  const chat::ToolChoice choice{
      .parallel = fields.parallel_tool_calls, .name = fields.tool_name, .after_reasoning = after_reasoning};
  const std::string key = std::string("call ") + (choice.parallel ? "many " : "one ") +
                          (after_reasoning ? "thinking " : "") + choice.name + " " + to_line(fields.tools);
  const auto make = [&] { return chat::tool_call_grammar(format.tools(), fields.tools, choice); };
  return compile_grammar(service.limits(), key, make, service.model().call_vocabulary, "tools");
}

ParserOptions parser_options(const ChatFormat& format, const ChatFields& fields, bool opens_reasoning) {
  ParserOptions out;
  out.include_reasoning = fields.include_reasoning;
  out.parallel_calls = fields.parallel_tool_calls;
  using Kind = ConstraintSpec::Kind;
  const Kind kind = fields.common.constraint.kind;
  // An answer by a schema or from a list is an answer, whatever it looks like; a pattern may spell thoughts and calls.
  const bool free = kind == Kind::kNone || kind == Kind::kRegex || kind == Kind::kGrammar;
  out.reasoning = format.reasons() && (opens_reasoning || free);
  out.inside_reasoning = opens_reasoning;
  if (fields.tool_choice == ToolChoice::kNone) return out;
  if (is_forced(fields) && format.tools() == chat::ToolFormat::kNone) {
    out.answer =
        fields.tool_choice == ToolChoice::kNamed ? ParserOptions::Answer::kArguments : ParserOptions::Answer::kCallList;
    out.named_function = fields.tool_name;
  } else if (is_forced(fields) || free) {
    out.tools = format.tools();
    out.enforced = is_forced(fields);
    out.tool_list = std::make_shared<const OrderedJson>(fields.tools);
    for (const OrderedJson& tool : fields.tools)
      out.tool_names.push_back(tool.at("function").at("name").get<std::string>());
  }
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
  call.scope->set_id(fields.common.request_id);
  spec.id = "chatcmpl-" + call.scope->id();
  spec.created = std::time(nullptr);
  spec.tenant = call.scope->tenant();
  spec.model = service.check_model(fields.common.model);
  const ChatFormat* format = service.model().chat;
  if (format == nullptr) {
    throw ApiError(400,
                   "this model has no chat template: use /v1/completions, or start the server with --chat-template",
                   "messages");
  }
  if (fields.thinking_token_budget && !format->reasons()) {
    throw ApiError(400, "thinking_token_budget: this model's chat template shows no thoughts (--reasoning-parser)",
                   "thinking_token_budget");
  }
  resolve_sampling(service, fields.common);
  ChatFormat::Prompt prompt = format->encode(fields, service.limits());
  const bool thinking = format->reasons() && prompt.opens_reasoning;
  // Without a known format there is no room for thoughts beside a forced call.
  const bool plain = is_forced(fields) && format->tools() == chat::ToolFormat::kNone;
  const ParserOptions parsing = parser_options(*format, fields, thinking);
  spec.make_parser = [parsing] { return make_output_parser(parsing); };
  spec.named_tool = fields.tool_choice == ToolChoice::kNamed;
  // The marks of calls are special tokens in some vocabularies.
  if (!chat::tool_markers(parsing.tools).empty()) fields.common.skip_special_tokens = false;
  spec.common = fields.common;
  spec.logprobs = fields.logprobs;
  std::vector<std::int32_t> ids = std::move(prompt.ids);
  check_ids(ids, service.model().vocab_size, "messages");
  truncate_prompt(ids, fields.common, service.model().max_model_len, fields.max_tokens.value_or(1));
  if (ids.empty()) throw ApiError(400, "messages: the conversation has no tokens", "messages");
  const std::int64_t max_tokens = output_tokens(service, static_cast<std::int64_t>(ids.size()), fields.common.n,
                                                fields.max_tokens, fields.max_tokens_field);
  spec.requests.push_back(engine_request(service, spec, std::move(ids), max_tokens));
  if (!fields.max_tokens) spec.requests.back().reserved_output = kOpenOutputTokens;
  spec.constraint_field = is_forced(fields) ? "tools" : fields.common.constraint.field;
  ConstraintFactory constraint = constraint_of(service, *format, fields, thinking && !plain);
  if (fields.thinking_token_budget && parsing.reasoning && !plain)
    constraint = limit_thought(service, *fields.thinking_token_budget, thinking, std::move(constraint));
  spec.requests.back().make_constraint = std::move(constraint);
  std::make_shared<Job>(service, std::move(spec), call.exchange, call.scope)->start();
}

}  // namespace awq::server
