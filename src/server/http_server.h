#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "server/exchange.h"
#include "server/limits.h"

namespace awq::server {

struct HttpServerOptions {
  std::string host = "127.0.0.1";
  int port = 0;
  std::filesystem::path tls_certificate, tls_key;  ///< PEM; both or none
  const ServeLimits* limits = nullptr;
};

/// What the HTTP side tells and asks. All calls come from the thread in HttpServer::run() and must not block.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// A request whose head and body are complete. The answer goes to `exchange`, from any thread, now or later.
  virtual void on_request(HttpRequest request, const std::shared_ptr<Exchange>& exchange) = 0;
  /// An answer was sent without on_request(): a request that is malformed or beyond a limit.
  virtual void on_refused(const class ApiError& error) = 0;
  /// A limit closed a connection, or cancelled its request.
  virtual void on_limit(LimitField limit) = 0;
  virtual void on_connections(std::int64_t open) = 0;
  /// Many times a second: true once the server is asked to stop.
  virtual bool stop_requested() = 0;
  /// Stops taking new work. Called once, before the listening socket closes.
  virtual void on_drain() = 0;
};

/// Listens, reads requests within the limits, writes answers; one thread, one coroutine pair per connection.
class HttpServer {
 public:
  /// Takes the address, so that a port in use shows before a model is loaded; connections are refused until run().
  /// Throws kInvalidArgument for an address that cannot be used, kCorruptFile for a certificate that cannot.
  explicit HttpServer(const HttpServerOptions& options);
  ~HttpServer();

  int port() const;
  bool loopback() const;
  /// Serves until a stop is requested, then closes the listener, waits for open requests up to the drain deadline, and
  /// cancels the rest. True when nothing had to be cancelled. `on_listening` is called once connections are accepted.
  bool run(HttpHandler& handler, const std::function<void()>& on_listening);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace awq::server
