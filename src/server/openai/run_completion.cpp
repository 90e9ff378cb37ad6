#include <ctime>

#include "server/openai/completion_fields.h"
#include "server/openai/constraints.h"
#include "server/openai/job.h"
#include "server/openai/prompt.h"
#include "server/routes.h"

namespace awq::server {
namespace {

std::vector<std::int32_t> encode(const Service& service, const CompletionFields& fields, const PromptField& prompt) {
  std::vector<std::int32_t> ids = prompt.ids;
  if (prompt.text) {
    // Special tokens in the text are read as such: prompts for completions are written out by the client.
    ids = service.model().tokenizer->encode(*prompt.text,
                                            {.add_special_tokens = fields.add_special_tokens, .parse_special = true});
  }
  check_ids(ids, service.model().vocab_size, "prompt");
  truncate_prompt(ids, fields.common, service.model().max_model_len, fields.max_tokens);
  if (ids.empty()) throw ApiError(400, "prompt: it has no tokens", "prompt");
  return ids;
}

}  // namespace

void run_completion(RouteCall& call) {
  Service& service = call.service;
  CompletionFields fields =
      read_completion(parse_body(call.request.body, service.limits()), service.limits(), service.model().defaults);
  call.request.body.clear();
  JobSpec spec;
  call.scope->set_id(fields.common.request_id);
  spec.id = "cmpl-" + call.scope->id();
  spec.created = std::time(nullptr);
  spec.tenant = call.scope->tenant();
  spec.model = service.check_model(fields.common.model);
  resolve_sampling(service, fields.common);
  spec.common = fields.common;
  spec.logprobs = fields.logprobs;
  spec.echo_logprobs = fields.echo && fields.logprobs.has_value();
  spec.constraint_field = fields.common.constraint.field;
  const ConstraintFactory constraint = compile_constraint(service, fields.common.constraint);
  for (const PromptField& prompt : fields.prompts) {
    std::vector<std::int32_t> ids = encode(service, fields, prompt);
    std::optional<std::int64_t> asked = fields.max_tokens;
    const auto room = service.model().max_model_len - static_cast<std::int64_t>(ids.size());
    if (!fields.max_tokens_given && room >= 1) asked = std::min(*asked, room);
    const std::int64_t max_tokens =
        output_tokens(service, static_cast<std::int64_t>(ids.size()), fields.common.n, asked, "max_tokens");
    if (fields.echo)
      spec.echo_texts.push_back(prompt.text ? *prompt.text : service.model().tokenizer->decode(ids, true));
    spec.requests.push_back(engine_request(service, spec, std::move(ids), max_tokens));
    spec.requests.back().make_constraint = constraint;
  }
  std::make_shared<Job>(service, std::move(spec), call.exchange, call.scope)->start();
}

}  // namespace awq::server
