#include "server/routes.h"

#include <algorithm>
#include <charconv>

#include "awq/version.h"
#include "server/openai/bodies.h"
#include "server/page.h"

namespace awq::server {
namespace {

OrderedJson model_card(const ServedModel& model, const std::string& name) {
  return {{"id", name},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "awq"},
          {"root", model.root},
          {"parent", nullptr},
          {"max_model_len", model.max_model_len},
          {"permission", OrderedJson::array()}};
}

/// A part of a path with its %HH as bytes; what is none stays as it is.
std::string percent_decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const char* digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() && std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      out += static_cast<char>(value);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

}  // namespace

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
      {"GET", "/v1/models/{id}", false, kAtOnce, run_model},
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
  for (const std::string& name : model.names) data.push_back(model_card(model, name));
  call.exchange->reply({.body = to_line({{"object", "list"}, {"data", std::move(data)}})});
}

void run_model(RouteCall& call) {
  const ServedModel& model = call.service.model();
  const std::string name =
      percent_decoded(std::string_view(call.request.path).substr(std::string_view("/v1/models/").size()));
  if (std::find(model.names.begin(), model.names.end(), name) != model.names.end()) {
    call.exchange->reply({.body = to_line(model_card(model, name))});
  } else {
    call.exchange->reply(unknown_model(name).reply());
  }
}

}  // namespace awq::server
