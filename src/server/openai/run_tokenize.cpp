#include "server/openai/bodies.h"
#include "server/openai/chat_format.h"
#include "server/openai/prompt.h"
#include "server/routes.h"

namespace awq::server {

void run_tokenize(RouteCall& call) {
  Service& service = call.service;
  call.exchange->mark_started();
  const OrderedJson body = parse_body(call.request.body, service.limits());
  const Fields fields(body);
  service.check_model(fields.text("model").value_or(""));
  const text::Tokenizer& tokenizer = *service.model().tokenizer;
  std::vector<std::int32_t> ids;
  if (fields.has("messages")) {
    if (service.model().chat == nullptr) throw ApiError(400, "this model has no chat template", "messages");
    ChatFields chat;
    read_conversation(fields, service.limits(), chat);
    ids = service.model().chat->encode(chat, service.limits()).ids;
  } else {
    const auto prompt = fields.text_of({"prompt", "content"});  // the latter is llama-server's
    if (!prompt) fields.refuse("prompt", "expected a text, or messages");
    ids = tokenizer.encode(
        *prompt, {.add_special_tokens = fields.boolean("add_special_tokens").value_or(true), .parse_special = true});
  }
  OrderedJson out{{"count", ids.size()}, {"max_model_len", service.model().max_model_len}, {"tokens", ids}};
  out["token_strs"] = nullptr;
  if (fields.boolean("return_token_strs").value_or(false)) {
    OrderedJson texts = OrderedJson::array();
    for (const std::int32_t id : ids) texts.push_back(tokenizer.token(id));
    out["token_strs"] = std::move(texts);
  }
  call.scope->reply(*call.exchange, {.body = to_line(out)});
}

void run_detokenize(RouteCall& call) {
  Service& service = call.service;
  call.exchange->mark_started();
  const OrderedJson body = parse_body(call.request.body, service.limits());
  const Fields fields(body);
  service.check_model(fields.text("model").value_or(""));
  if (!fields.has("tokens")) fields.refuse("tokens", "expected a list of token ids");
  const std::vector<std::int32_t> ids = fields.ids("tokens");
  check_ids(ids, service.model().vocab_size, "tokens");
  call.scope->reply(*call.exchange, {.body = to_line({{"prompt", service.model().tokenizer->decode(ids, false)}})});
}

}  // namespace awq::server
