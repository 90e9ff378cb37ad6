#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "server/service.h"

namespace awq::server {

/// A request that a worker has to answer.
struct RouteCall {
  Service& service;
  HttpRequest request;
  std::shared_ptr<Exchange> exchange;
  std::shared_ptr<RequestScope> scope;
};

enum class RouteKind : std::uint8_t {
  kAtOnce,   ///< answered on the thread of the connections
  kReport,   ///< by a worker, also while the server has as many requests as it takes or is stopping: one per connection
  kRequest,  ///< by a worker, counted by --max-requests
};

struct Route {
  const char* method;
  const char* path;  ///< "{id}" at its end: anything
  bool open;         ///< needs no key
  RouteKind kind;
  void (*run)(RouteCall& call);
};

/// All routes; the list is in routes.cpp.
std::span<const Route> routes();

// What they run. All may throw ApiError.
void run_page(RouteCall& call);
void run_health(RouteCall& call);
void run_version(RouteCall& call);
void run_load(RouteCall& call);
void run_metrics(RouteCall& call);
void run_models(RouteCall& call);
void run_model(RouteCall& call);
void run_completion(RouteCall& call);
void run_chat(RouteCall& call);
void run_tokenize(RouteCall& call);
void run_detokenize(RouteCall& call);

}  // namespace awq::server
