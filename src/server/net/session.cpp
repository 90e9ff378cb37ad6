#include <algorithm>
#include <array>
#include <utility>
// Asio before 1.75 uses std::exchange without including it.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "base/check.h"
#include "server/net/event.h"

namespace awq::server::net {
namespace {

using boost::system::error_code;
using std::chrono::milliseconds;
using Tcp = asio::ip::tcp;
using TlsStream = asio::ssl::stream<Tcp::socket>;

constexpr std::size_t kReadBytes = 8192;
constexpr std::size_t kInboxBytes = 64 << 10;
constexpr std::size_t kWriteBytes = 64 << 10;
constexpr auto kLinger = std::chrono::seconds(2);
// A proxy that sees nothing for a minute closes: a long prefill or queue says that it is alive.
constexpr auto kKeepAlive = std::chrono::seconds(15);
constexpr auto kNever = Clock::time_point::max();

bool is_event_stream(const HttpReply& head) { return head.content_type.starts_with("text/event-stream"); }

/// One connection: read_loop() fills the inbox all the time, so that a disconnect is seen in every phase; run() takes
/// requests out of it one after the other and writes their answers.
template <typename Stream>
class Session final : public Connection, public std::enable_shared_from_this<Session<Stream>> {
 public:
  Session(Hub& hub, Stream stream, std::optional<ApiError> refusal, std::function<void()> on_closed)
      : hub_(hub),
        stream_(std::move(stream)),
        refusal_(std::move(refusal)),
        on_closed_(std::move(on_closed)),
        input_(hub.io),
        space_(hub.io),
        output_(hub.io) {
    hub_.connections.insert(this);
  }
  ~Session() override {
    hub_.connections.erase(this);
    on_closed_();
  }

  void start() {
    auto self = this->shared_from_this();
    asio::co_spawn(hub_.io, run(), [self](const std::exception_ptr&) { self->close(); });
  }

  void check_deadlines(Clock::time_point now) override {
    if (now >= read_deadline_) {
      read_deadline_ = kNever;
      expired_ = true;
      input_.notify();
    }
    if (now >= write_deadline_) {
      write_deadline_ = kNever;
      hub_.handler->on_limit(&ServeLimits::write_timeout_ms);
      close();
    }
    if (now >= linger_deadline_) close();
    if (!exchange_) return;
    if (now >= queue_deadline_) {
      queue_deadline_ = kNever;
      if (!exchange_->started()) {
        hub_.handler->on_limit(&ServeLimits::queue_timeout_ms);
        exchange_->cancel(CancelReason::kQueueTimeout);
      }
    }
    if (now >= request_deadline_) {
      request_deadline_ = kNever;
      hub_.handler->on_limit(&ServeLimits::request_timeout_ms);
      exchange_->cancel(CancelReason::kRequestTimeout);
    }
  }

  void drain() override {
    if (phase_ == Phase::kIdle) close();
  }
  void cancel_request(CancelReason reason) override {
    if (exchange_) exchange_->cancel(reason);
  }
  void close() override {
    disconnected();
    error_code ignored;
    stream_.lowest_layer().close(ignored);
  }

 private:
  enum class Phase { kIdle, kHead, kBody, kHandling, kClosing };

  /// The client has gone or has to go: whoever waits hears of it.
  void disconnected() {
    closed_ = true;
    if (exchange_) exchange_->cancel(CancelReason::kDisconnected);
    input_.notify();
    space_.notify();
    output_.notify();
  }

  static Clock::time_point after(std::int64_t ms) { return Clock::now() + milliseconds(ms); }

  asio::awaitable<void> run() {
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      linger_deadline_ = after(hub_.limits.head_timeout_ms);
      error_code ec;
      co_await stream_.async_handshake(TlsStream::server, asio::redirect_error(asio::use_awaitable, ec));
      linger_deadline_ = kNever;
      if (ec) co_return;
    }
    auto self = this->shared_from_this();
    asio::co_spawn(hub_.io, read_loop(), [self](const std::exception_ptr&) { self->disconnected(); });
    if (refusal_) {
      discard_ = true;
      HttpReply reply = refusal_->reply();
      co_await write_reply(std::move(reply), false, false);
    } else {
      while (co_await serve_one()) {
      }
    }
    co_await linger();
    close();
  }

  asio::awaitable<void> read_loop() {
    std::array<char, kReadBytes> piece;
    while (!closed_) {
      const bool handling = phase_ == Phase::kHandling;
      if (handling && !discard_ && sent_too_much()) break;
      if (!handling && inbox_.size() >= kInboxBytes) {
        co_await space_.wait();
        continue;
      }
      error_code ec;
      const std::size_t got =
          co_await stream_.async_read_some(asio::buffer(piece), asio::redirect_error(asio::use_awaitable, ec));
      if (ec) break;
      if (discard_) continue;
      inbox_.append(piece.data(), got);
      input_.notify();
    }
    disconnected();
  }

  /// Closes the connection of a client that sends more than the limit before it has its answer.
  bool sent_too_much() {
    if (static_cast<std::int64_t>(inbox_.size()) <= hub_.limits.max_pipelined_bytes) return false;
    hub_.handler->on_limit(&ServeLimits::max_pipelined_bytes);
    close();
    return true;
  }

  /// Reads one request and answers it; false when the connection ends.
  asio::awaitable<bool> serve_one() {
    RequestReader reader(hub_.limits, hub_.budget);
    const bool complete = co_await read_request(reader);
    read_deadline_ = kNever;
    if (!complete) co_return false;
    HttpRequest request = reader.take();
    const bool keep_alive = co_await answer(std::move(request));
    co_return keep_alive && !closed_ && !hub_.draining;
  }

  asio::awaitable<bool> read_request(RequestReader& reader) {
    phase_ = Phase::kIdle;
    read_deadline_ = after(first_ ? hub_.limits.head_timeout_ms : hub_.limits.idle_timeout_ms);
    expired_ = false;
    while (reader.state() != RequestReader::State::kDone) {
      const std::size_t used = reader.feed(inbox_);
      inbox_.erase(0, used);
      if (used > 0) space_.notify();
      if (reader.state() == RequestReader::State::kDone) break;
      if (reader.state() == RequestReader::State::kFailed) {
        const bool refused = co_await refuse(reader.problem());
        co_return refused;
      }
      if (reader.take_expectation()) {
        std::string go_on = "HTTP/1.1 100 Continue\r\n\r\n";
        co_await write_all(std::move(go_on));
      }
      follow(reader);
      if (used > 0 && !inbox_.empty()) continue;
      if (!closed_ && !expired_) co_await input_.wait();
      if (closed_) co_return false;
      if (expired_) {
        const bool refused = co_await refuse_late(reader);
        co_return refused;
      }
    }
    first_ = false;
    co_return true;
  }

  /// Sets the deadline of the part that is being read.
  void follow(const RequestReader& reader) {
    if (phase_ == Phase::kIdle && reader.started()) {
      phase_ = Phase::kHead;
      read_deadline_ = after(hub_.limits.head_timeout_ms);
    }
    if (phase_ == Phase::kHead && reader.state() == RequestReader::State::kBody) {
      phase_ = Phase::kBody;
      read_deadline_ = after(hub_.limits.body_timeout_ms);
    }
  }

  asio::awaitable<bool> refuse(const ApiError& error) {
    hub_.handler->on_refused(error);
    phase_ = Phase::kClosing;
    discard_ = true;
    HttpReply reply = error.reply();
    co_await write_reply(std::move(reply), false, false);
    co_return false;
  }

  asio::awaitable<bool> refuse_late(const RequestReader& reader) {
    if (!reader.started()) {
      hub_.handler->on_limit(&ServeLimits::idle_timeout_ms);
      co_return false;
    }
    const bool head = phase_ == Phase::kHead;
    ApiError error(408, head ? "the headers took too long" : "the body took too long");
    error.set_limit(head ? &ServeLimits::head_timeout_ms : &ServeLimits::body_timeout_ms);
    const bool refused = co_await refuse(error);
    co_return refused;
  }

  asio::awaitable<bool> answer(HttpRequest request) {
    phase_ = Phase::kHandling;
    if (sent_too_much()) co_return false;
    queue_deadline_ = after(hub_.limits.queue_timeout_ms);
    request_deadline_ = after(hub_.limits.request_timeout_ms);
    std::weak_ptr<Session> weak = this->weak_from_this();
    auto wake = [weak, &io = hub_.io] {
      asio::post(io, [weak] {
        if (auto self = weak.lock()) self->output_.notify();
      });
    };
    exchange_ = std::make_shared<Exchange>(wake, static_cast<std::size_t>(hub_.limits.max_stream_buffer_bytes));
    const bool http10 = request.http10;
    const bool head_only = request.method == "HEAD";
    bool keep_alive = request.keep_alive && !hub_.draining;
    hub_.handler->on_request(std::move(request), exchange_);
    bool finished = false;
    bool streaming = false;
    while (!finished && !closed_) {
      Exchange::Output out = exchange_->take();
      if (out.empty()) {
        const Clock::time_point until = streaming ? Clock::now() + kKeepAlive : kNever;
        const bool woken = co_await output_.wait(until);
        if (!woken && streaming) {
          std::string comment = ": keep-alive\n\n";
          co_await write_piece(std::move(comment), http10);
        }
        continue;
      }
      finished = out.finished;
      if (out.head && out.whole) {
        keep_alive = keep_alive && !hub_.draining;
        HttpReply reply = std::move(*out.head);
        co_await write_reply(std::move(reply), keep_alive, http10, head_only);
        continue;
      }
      if (out.head) {
        keep_alive = keep_alive && !http10 && !hub_.draining;
        streaming = is_event_stream(*out.head);
        std::string head = format_head(*out.head, -1, keep_alive, http10);
        co_await write_all(std::move(head));
      }
      if (!out.bytes.empty()) co_await write_piece(std::move(out.bytes), http10);
      if (finished && !http10) {
        std::string end = format_chunk({});
        co_await write_all(std::move(end));
      }
    }
    if (!finished) exchange_->cancel(CancelReason::kDisconnected);
    exchange_.reset();
    co_return finished&& keep_alive;
  }

  asio::awaitable<void> write_reply(HttpReply reply, bool keep_alive, bool http10, bool head_only = false) {
    std::string text = format_head(reply, static_cast<long long>(reply.body.size()), keep_alive, http10);
    if (!head_only) text += reply.body;
    co_await write_all(std::move(text));
  }

  asio::awaitable<void> write_piece(std::string piece, bool http10) {
    // Named values only: GCC 12 destroys temporaries of a conditional inside co_await twice.
    std::string text;
    if (http10) {
      text = std::move(piece);
    } else {
      text = format_chunk(piece);
    }
    co_await write_all(std::move(text));
  }

  /// Returns early when the connection is gone. The write deadline starts anew with every byte that is taken.
  asio::awaitable<void> write_all(std::string text) {
    std::size_t done = 0;
    while (done < text.size() && !closed_) {
      write_deadline_ = after(hub_.limits.write_timeout_ms);
      error_code ec;
      const auto piece = asio::buffer(text.data() + done, std::min(kWriteBytes, text.size() - done));
      const std::size_t sent = co_await stream_.async_write_some(piece, asio::redirect_error(asio::use_awaitable, ec));
      done += sent;
      if (ec) close();
    }
    write_deadline_ = kNever;
  }

  /// Closing while input waits would reset the connection, and the client could lose the answer.
  asio::awaitable<void> linger() {
    if (closed_) co_return;
    phase_ = Phase::kClosing;
    discard_ = true;
    inbox_.clear();
    space_.notify();
    linger_deadline_ = Clock::now() + kLinger;
    error_code ec;
    if constexpr (std::is_same_v<Stream, TlsStream>) {
      stream_.lowest_layer().shutdown(Tcp::socket::shutdown_send, ec);
    } else {
      stream_.shutdown(Tcp::socket::shutdown_send, ec);
    }
    while (!closed_) co_await input_.wait();
  }

  Hub& hub_;
  Stream stream_;
  std::optional<ApiError> refusal_;
  std::function<void()> on_closed_;
  Event input_, space_, output_;
  std::string inbox_;
  Phase phase_ = Phase::kIdle;
  bool first_ = true, closed_ = false, expired_ = false, discard_ = false;
  Clock::time_point read_deadline_ = kNever, write_deadline_ = kNever, linger_deadline_ = kNever;
  Clock::time_point queue_deadline_ = kNever, request_deadline_ = kNever;
  std::shared_ptr<Exchange> exchange_;
};

}  // namespace

void start_connection(Hub& hub, Tcp::socket socket, std::optional<ApiError> refusal, std::function<void()> on_closed) {
  error_code ignored;
  socket.set_option(Tcp::no_delay(true), ignored);
  if (hub.tls) {
    std::make_shared<Session<TlsStream>>(hub, TlsStream(std::move(socket), *hub.tls), std::move(refusal),
                                         std::move(on_closed))
        ->start();
  } else {
    std::make_shared<Session<Tcp::socket>>(hub, std::move(socket), std::move(refusal), std::move(on_closed))->start();
  }
}

}  // namespace awq::server::net
