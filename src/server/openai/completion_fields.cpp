#include "server/openai/completion_fields.h"

#include <limits>

namespace awq::server {
namespace {

std::vector<std::int32_t> read_ids(const Fields& fields, const OrderedJson& list) {
  std::vector<std::int32_t> ids;
  ids.reserve(list.size());
  for (const OrderedJson& item : list) {
    const std::optional<std::int32_t> id = as_id(item);
    if (!id) fields.wrong_type("prompt", "a string, a list of strings, a list of token ids, or a list of such lists");
    ids.push_back(*id);
  }
  return ids;
}

std::vector<PromptField> read_prompts(const Fields& fields, const ServeLimits& limits) {
  const OrderedJson* prompt = fields.find("prompt");
  if (prompt == nullptr) fields.refuse("prompt", "expected a prompt");
  std::vector<PromptField> out;
  if (prompt->is_string()) {
    out.push_back({.text = prompt->get<std::string>()});
  } else if (prompt->is_array() && !prompt->empty() && prompt->front().is_number()) {
    out.push_back({.ids = read_ids(fields, *prompt)});
  } else if (prompt->is_array()) {
    check_limit(limits, &ServeLimits::max_prompts, static_cast<std::int64_t>(prompt->size()), "prompt");
    for (const OrderedJson& item : *prompt) {
      if (item.is_string()) {
        out.push_back({.text = item.get<std::string>()});
      } else if (item.is_array() && !item.empty()) {
        out.push_back({.ids = read_ids(fields, item)});
      } else {
        fields.wrong_type("prompt", "a string, a list of strings, a list of token ids, or a list of such lists");
      }
    }
  } else {
    fields.wrong_type("prompt", "a string, a list of strings, a list of token ids, or a list of such lists");
  }
  if (out.empty()) fields.refuse("prompt", "expected at least one prompt");
  return out;
}

}  // namespace

CompletionFields read_completion(const OrderedJson& body, const ServeLimits& limits,
                                 const GenerationDefaults& defaults) {
  const Fields fields(body);
  CompletionFields out;
  out.common = read_common(fields, limits, defaults);
  out.prompts = read_prompts(fields, limits);
  const auto prompts = static_cast<std::int64_t>(out.prompts.size());
  check_choices(limits, prompts, out.common.n);
  // The only list of a request without a limit of its own; each prompt has it once.
  check_limit(limits, &ServeLimits::max_json_values,
              prompts * static_cast<std::int64_t>(out.common.sampling.allowed_token_ids.size()), "allowed_token_ids");
  if (const auto suffix = fields.text("suffix"); suffix && !suffix->empty())
    fields.refuse("suffix", "this server does not support it");
  out.echo = fields.boolean("echo").value_or(false);
  out.add_special_tokens = fields.boolean("add_special_tokens").value_or(true);
  const char* name = fields.has("max_tokens") ? "max_tokens" : "n_predict";  // the latter is llama-server's
  out.max_tokens_given = fields.has(name);
  out.max_tokens = fields.integer_in(name, 16, 0, std::numeric_limits<std::int64_t>::max());
  if (out.max_tokens == 0 && !out.echo) fields.refuse("max_tokens", "expected at least 1, or 0 with echo");
  if (fields.has("logprobs")) {
    out.logprobs =
        fields.integer_in("logprobs", 0, limits.max_logprobs < 0 ? -1 : 0, std::numeric_limits<std::int64_t>::max());
    if (limits.max_logprobs >= 0) check_limit(limits, &ServeLimits::max_logprobs, *out.logprobs, "logprobs");
  }
  if (!out.common.sampling.logprob_token_ids.empty()) {
    if (!out.logprobs) fields.refuse("logprob_token_ids", "only with logprobs");
    if (out.max_tokens == 0) fields.refuse("logprob_token_ids", "there are no new tokens with max_tokens 0");
  }
  if (fields.has("thinking_token_budget")) fields.refuse("thinking_token_budget", "only in chats");
  return out;
}

}  // namespace awq::server
