#include "server/service.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <random>

#include "base/resources.h"
#include "base/stop.h"
#include "server/routes.h"

namespace awq::server {
namespace {

/// A name that only a page of this machine can have asked for.
bool is_local_host(std::string_view host) {
  if (host.starts_with("[")) return true;  // an IPv6 address
  const std::string_view name = host.substr(0, host.find(':'));
  if (name == "localhost" || name.ends_with(".localhost")) return true;
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](char c) { return (c >= '0' && c <= '9') || c == '.'; });
}

bool is_json(const std::string& content_type) {
  std::string type = content_type.substr(0, content_type.find(';'));
  while (!type.empty() && type.back() == ' ') type.pop_back();
  std::transform(type.begin(), type.end(), type.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return type == "application/json";
}

/// A path that ends with "{id}" stands for all that have something in its place.
bool matches(const Route& route, std::string_view path) {
  constexpr std::string_view kAny = "{id}";
  std::string_view pattern = route.path;
  if (!pattern.ends_with(kAny)) return path == pattern;
  pattern.remove_suffix(kAny.size());
  return path.starts_with(pattern) && path.size() > pattern.size();
}

const Route& find_route(const HttpRequest& request) {
  std::string allowed;
  for (const Route& route : routes()) {
    if (!matches(route, request.path)) continue;
    if (request.method == route.method || (request.method == "HEAD" && std::string_view(route.method) == "GET"))
      return route;
    allowed += (allowed.empty() ? "" : ", ") + std::string(route.method);
  }
  if (allowed.empty()) throw ApiError(404, "there is nothing at this path");
  throw ApiError(405, "expected " + allowed);
}

}  // namespace

std::uint64_t random_seed() {
  static thread_local std::mt19937_64 source{(static_cast<std::uint64_t>(std::random_device{}()) << 32) |
                                             std::random_device{}()};
  return source();
}

std::string random_id(const char* prefix) {
  return fmt::format("{}{:016x}{:016x}", prefix, random_seed(), random_seed());
}

RequestScope::RequestScope(Service& service, const HttpRequest& request, const Route& route, std::string tenant)
    : service_(service),
      tenant_(std::move(tenant)),
      counted_(route.kind == RouteKind::kRequest),
      begin_(monotonic_seconds()) {
  named_ = is_plain_id(request.request_id);
  log_.id = named_ ? request.request_id : random_id("");
  log_.method = request.method;
  log_.route = route.path;
  if (counted_) service_.open_requests_.fetch_add(1);
}

RequestScope::~RequestScope() {
  if (counted_) service_.open_requests_.fetch_sub(1);
  log_.seconds = monotonic_seconds() - begin_;
  service_.metrics().on_response(log_.route, log_.status, log_.seconds);
  log_request(log_);
}

void RequestScope::set_id(const std::string& id) {
  if (!named_ && !id.empty()) log_.id = id;
}

void RequestScope::refuse(Exchange& exchange, const ApiError& error) {
  service_.metrics().on_limit(error.limit());
  reply(exchange, error.reply());
}

void RequestScope::reply(Exchange& exchange, HttpReply reply) {
  log_.status = reply.status;
  reply.headers.emplace_back("X-Request-Id", log_.id);
  exchange.reply(std::move(reply));
}

Service::Service(Settings settings) : settings_(std::move(settings)), token_texts_(*settings_.model.tokenizer) {}

bool Service::stop_requested() { return stop_flag().signal_number() != 0 || !model().engine->healthy(); }

void Service::on_drain() {
  draining_ = true;
  log_note(fmt::format("stopping: {} open requests", open_requests()));
  model().engine->drain();
}

void Service::on_refused(const ApiError& error) {
  metrics().on_limit(error.limit());
  metrics().on_response("none", error.status(), 0);
}

double Service::retry_after() const {
  const double slots = std::max<double>(1, static_cast<double>(options().max_num_seqs));
  return metrics().typical_seconds() * static_cast<double>(open_requests()) / slots;
}

std::string Service::check_model(const std::string& name) const {
  const std::vector<std::string>& names = model().names;
  // vLLM's default name is the path as it was given: clients that were set up for it go on working.
  if (name.empty() || (options().served_model_names.empty() && name == options().model.string())) return names.front();
  if (std::find(names.begin(), names.end(), name) == names.end()) throw unknown_model(name);
  return name;
}

void Service::on_request(HttpRequest request, const std::shared_ptr<Exchange>& exchange) {
  const Route* route = nullptr;
  std::optional<std::string> tenant;
  try {
    if (settings_.trusted_hosts_only && !is_local_host(request.host))
      throw ApiError(403, "without a key only local host names are answered");
    route = &find_route(request);
    if (!route->open) tenant = settings_.keys.holder(request.authorization, request.api_key);
    if (!route->open && !(options().open_metrics && request.path == "/metrics") && !tenant)
      throw ApiError(401, "Unauthorized");
    if (request.method == "POST" && route->kind != RouteKind::kAtOnce && !is_json(request.content_type))
      throw ApiError(400, "expected Content-Type: application/json");
    if (route->kind == RouteKind::kRequest && draining_)
      throw ApiError(503, "the server is stopping").set_retry_after(1);
    if (route->kind == RouteKind::kRequest && open_requests() >= limits().max_requests) {
      throw ApiError(429, "the server has as many requests as it takes, try again")
          .set_retry_after(retry_after())
          .set_limit(&ServeLimits::max_requests);
    }
  } catch (const ApiError& error) {
    metrics().on_limit(error.limit());
    metrics().on_response(route == nullptr ? "none" : route->path, error.status(), 0);
    HttpReply reply = error.reply();
    if (error.status() == 405)
      reply.headers.emplace_back("Allow", error.message().substr(std::string("expected ").size()));
    exchange->reply(std::move(reply));
    return;
  }
  if (route->kind == RouteKind::kAtOnce) {
    exchange->mark_started();
    RouteCall call{*this, std::move(request), exchange, nullptr};
    route->run(call);
    return;
  }
  auto call = std::make_shared<RouteCall>(
      RouteCall{*this, {}, exchange, std::make_shared<RequestScope>(*this, request, *route, tenant.value_or(""))});
  call->request = std::move(request);
  workers().post([call, route] {
    try {
      route->run(*call);
    } catch (const ApiError& error) {
      call->scope->refuse(*call->exchange, error);
    } catch (const std::bad_alloc&) {
      call->scope->refuse(*call->exchange, ApiError(503, "out of memory for this request").set_retry_after(5));
    } catch (const std::exception& error) {
      log_error(printable(error.what(), 300));
      call->scope->refuse(*call->exchange, ApiError(500, "internal error"));
    }
  });
}

}  // namespace awq::server
