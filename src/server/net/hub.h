#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_set>
#include <utility>
// Asio before 1.75 uses std::exchange without including it.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>

#include "server/http_server.h"
#include "server/request_reader.h"

namespace awq::server::net {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

/// One connection, as the watchdog sees it. Everything here runs on the one thread of the io_context.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual void check_deadlines(Clock::time_point now) = 0;
  /// Closes the connection if no request is on it; otherwise after its answer.
  virtual void drain() = 0;
  virtual void cancel_request(CancelReason reason) = 0;
  virtual void close() = 0;
};

/// What the connections of one server share.
struct Hub {
  explicit Hub(const ServeLimits& server_limits) : limits(server_limits), budget(server_limits.max_total_body_bytes) {}

  const ServeLimits& limits;
  HttpHandler* handler = nullptr;  ///< set before the first connection
  BodyBudget budget;
  std::optional<asio::ssl::context> tls;
  bool draining = false;
  std::unordered_set<Connection*> connections;
  // The last one, so that it goes first: coroutines that wait in it end then, and they use all of the above.
  asio::io_context io{1};
};

/// Starts serving a connection that was accepted; `on_closed` is called when it has ended. With `refusal` it only
/// says that and closes.
void start_connection(Hub& hub, asio::ip::tcp::socket socket, std::optional<ApiError> refusal,
                      std::function<void()> on_closed);

}  // namespace awq::server::net
