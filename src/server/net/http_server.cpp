#include "server/http_server.h"

#include <array>
#include <unordered_map>
#include <utility>
// Asio before 1.75 uses std::exchange without including it.
#include <boost/asio/co_spawn.hpp>

#include "base/check.h"
#include "server/net/event.h"

namespace awq::server {

using boost::system::error_code;
using net::Clock;
using net::Connection;
using net::Hub;
namespace asio = boost::asio;
using Tcp = asio::ip::tcp;

namespace {
constexpr auto kWatch = std::chrono::milliseconds(25);
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
constexpr auto kLastWords = std::chrono::seconds(2);  // for the final events of cancelled requests
constexpr int kMaxRefusals = 256;                     // connections that are open only to be told no
}  // namespace

class HttpServer::Impl {
 public:
  explicit Impl(const HttpServerOptions& options) : hub_(*options.limits), acceptor_(hub_.io), watch_(hub_.io) {
    if (!options.tls_certificate.empty()) load_tls(options);
    bind(options);
  }

  const Tcp::endpoint& endpoint() const { return endpoint_; }

  bool run(HttpHandler& handler, const std::function<void()>& on_listening) {
    hub_.handler = &handler;
    error_code ec;
    acceptor_.listen(asio::socket_base::max_listen_connections, ec);
    if (ec)
      fail(ErrorCode::kInvalidArgument, "{}: cannot listen there: {}", endpoint_.address().to_string(), ec.message());
    on_listening();
    asio::co_spawn(hub_.io, accept_loop(), [](const std::exception_ptr&) {});
    asio::co_spawn(hub_.io, watch_loop(), [this](const std::exception_ptr& error) {
      failure_ = error;
      hub_.io.stop();
    });
    hub_.io.run();
    if (failure_) std::rethrow_exception(failure_);
    return clean_;
  }

 private:
  void load_tls(const HttpServerOptions& options) {
    hub_.tls.emplace(asio::ssl::context::tls_server);
    hub_.tls->set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
    error_code ec;
    hub_.tls->use_certificate_chain_file(options.tls_certificate.string(), ec);
    if (ec)
      fail(ErrorCode::kCorruptFile, "{}: not a certificate in PEM: {}", options.tls_certificate.string(), ec.message());
    hub_.tls->use_private_key_file(options.tls_key.string(), asio::ssl::context::pem, ec);
    if (ec)
      fail(ErrorCode::kCorruptFile, "{}: not the certificate's key in PEM: {}", options.tls_key.string(), ec.message());
  }

  void bind(const HttpServerOptions& options) {
    error_code ec;
    asio::ip::address address = asio::ip::make_address(options.host, ec);
    if (ec) {
      Tcp::resolver resolver(hub_.io);
      const auto found = resolver.resolve(options.host, "", Tcp::resolver::passive, ec);
      if (ec || found.empty())
        fail(ErrorCode::kInvalidArgument, "--host {}: not an address and not a known name", printable(options.host));
      address = found.begin()->endpoint().address();
    }
    const Tcp::endpoint wanted(address, static_cast<unsigned short>(options.port));
    const auto require = [&](const char* step) {
      if (ec)
        fail(ErrorCode::kInvalidArgument, "--host {} --port {}: {}: {}", address.to_string(), options.port, step,
             ec.message());
    };
    acceptor_.open(wanted.protocol(), ec);
    require("open");
    acceptor_.set_option(Tcp::acceptor::reuse_address(true), ec);
    acceptor_.bind(wanted, ec);
    require("cannot listen there");
    endpoint_ = acceptor_.local_endpoint(ec);
  }

  asio::awaitable<void> accept_loop() {
    asio::steady_timer pause(hub_.io);
    while (acceptor_.is_open()) {
      error_code ec;
      Tcp::socket socket(hub_.io);
      co_await acceptor_.async_accept(socket, asio::redirect_error(asio::use_awaitable, ec));
      if (!ec) {
        admit(std::move(socket));
      } else if (acceptor_.is_open()) {  // no descriptor or memory left: others have to end first
        pause.expires_after(kAcceptPause);
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      }
    }
  }

  void admit(Tcp::socket socket) {
    error_code ec;
    const Tcp::endpoint remote = socket.remote_endpoint(ec);
    if (ec) return;
    const std::string address = remote.address().to_string();
    std::optional<ApiError> refusal;
    if (open_ - refusals_ >= hub_.limits.max_connections) {
      refusal = ApiError(503, "too many connections").set_retry_after(1).set_limit(&ServeLimits::max_connections);
    } else if (const auto found = by_address_.find(address);
               found != by_address_.end() && found->second >= hub_.limits.max_connections_per_address) {
      refusal = ApiError(429, "too many connections of this address")
                    .set_retry_after(1)
                    .set_limit(&ServeLimits::max_connections_per_address);
    }
    const bool refused = refusal.has_value();
    if (refused) {
      hub_.handler->on_refused(*refusal);
      if (refusals_ >= kMaxRefusals) return;
      ++refusals_;
    } else {
      ++by_address_[address];
    }
    hub_.handler->on_connections(++open_);
    net::start_connection(hub_, std::move(socket), std::move(refusal), [this, address, refused] {
      hub_.handler->on_connections(--open_);
      if (refused) {
        --refusals_;
      } else if (--by_address_[address] == 0) {
        by_address_.erase(address);
      }
    });
  }

  /// A copy: closing a connection takes it out of the set.
  std::vector<Connection*> connections() const { return {hub_.connections.begin(), hub_.connections.end()}; }

  asio::awaitable<void> watch_loop() {
    auto drain_deadline = Clock::time_point::max();
    auto close_deadline = Clock::time_point::max();
    while (true) {
      error_code ec;
      watch_.expires_after(kWatch);
      co_await watch_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      const auto now = Clock::now();
      for (Connection* connection : connections()) connection->check_deadlines(now);
      if (!hub_.draining) {
        if (!hub_.handler->stop_requested()) continue;
        hub_.draining = true;
        drain_deadline = now + std::chrono::milliseconds(hub_.limits.drain_timeout_ms);
        hub_.handler->on_drain();
        acceptor_.close(ec);
        for (Connection* connection : connections()) connection->drain();
      }
      if (hub_.connections.empty()) break;
      if (now >= drain_deadline) {
        drain_deadline = Clock::time_point::max();
        close_deadline = now + kLastWords;
        clean_ = false;
        hub_.handler->on_limit(&ServeLimits::drain_timeout_ms);
        for (Connection* connection : connections()) connection->cancel_request(CancelReason::kShutdown);
      }
      if (now >= close_deadline) {
        for (Connection* connection : connections()) connection->close();
      }
    }
  }

  // Coroutines end with the io_context, which has to go first: it is declared in hub_, after these.
  std::int64_t open_ = 0, refusals_ = 0;
  std::unordered_map<std::string, std::int64_t> by_address_;
  std::exception_ptr failure_;
  bool clean_ = true;
  Tcp::endpoint endpoint_;
  Hub hub_;
  Tcp::acceptor acceptor_;
  asio::steady_timer watch_;
};

HttpServer::HttpServer(const HttpServerOptions& options) : impl_(std::make_unique<Impl>(options)) {}
HttpServer::~HttpServer() = default;
int HttpServer::port() const { return impl_->endpoint().port(); }
bool HttpServer::loopback() const { return impl_->endpoint().address().is_loopback(); }
bool HttpServer::run(HttpHandler& handler, const std::function<void()>& on_listening) {
  return impl_->run(handler, on_listening);
}

}  // namespace awq::server
