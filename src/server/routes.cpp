#include "server/routes.h"

#include "awq/version.h"
#include "server/openai/bodies.h"
#include "server/page.h"

namespace awq::server {

std::span<const Route> routes() {
  using enum RouteKind;
  static const Route kAll[] = {
      // method, path, open, kind
      {"GET", "/", true, kAtOnce, run_page},
      {"GET", "/health", true, kAtOnce, run_health},
      {"GET", "/ping", true, kAtOnce, run_health},
      {"POST", "/ping", true, kAtOnce, run_health},
      {"GET", "/version", false, kAtOnce, run_version},
      {"GET", "/load", false, kAtOnce, run_load},
      {"GET", "/metrics", false, kReport, run_metrics},
      {"GET", "/v1/models", false, kAtOnce, run_models},
      {"POST", "/v1/completions", false, kRequest, run_completion},
      {"POST", "/v1/chat/completions", false, kRequest, run_chat},
      {"POST", "/tokenize", false, kRequest, run_tokenize},
      {"POST", "/detokenize", false, kRequest, run_detokenize},
  };
  return kAll;
}

void run_page(RouteCall& call) {
  if (!call.service.options().page) {
    call.exchange->reply(ApiError(404, "there is nothing at this path").reply());
    return;
  }
  HttpReply reply{.content_type = "text/html; charset=utf-8", .body = std::string(chat_page())};
  // One file without references: nothing else may be loaded, and no other page may frame it.
  reply.headers = {{"Content-Security-Policy",
                    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
                    "img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"},
                   {"Referrer-Policy", "no-referrer"},
                   {"Cache-Control", "no-cache"}};
  call.exchange->reply(std::move(reply));
}

void run_health(RouteCall& call) {
  const bool healthy = call.service.model().engine->healthy();
  call.exchange->reply({.status = healthy ? 200 : 503, .content_type = "", .body = ""});
}

void run_version(RouteCall& call) { call.exchange->reply({.body = to_line({{"version", kVersion}})}); }

void run_load(RouteCall& call) {
  call.exchange->reply({.body = to_line({{"server_load", call.service.open_requests()}})});
}

void run_metrics(RouteCall& call) {
  call.exchange->mark_started();
  call.scope->reply(*call.exchange, {.content_type = "text/plain; version=0.0.4; charset=utf-8",
                                     .body = call.service.metrics().text()});
}

void run_models(RouteCall& call) {
  const ServedModel& model = call.service.model();
  OrderedJson data = OrderedJson::array();
  for (const std::string& name : model.names) {
    data.push_back({{"id", name},
                    {"object", "model"},
                    {"created", model.created},
                    {"owned_by", "awq"},
                    {"root", model.root},
                    {"parent", nullptr},
                    {"max_model_len", model.max_model_len},
                    {"permission", OrderedJson::array()}});
  }
  call.exchange->reply({.body = to_line({{"object", "list"}, {"data", std::move(data)}})});
}

}  // namespace awq::server
