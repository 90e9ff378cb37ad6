#include "server/http_server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "server/api_error.h"

namespace awq::server {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

/// Answers from threads of its own, as the workers do.
class TestHandler final : public HttpHandler {
 public:
  ~TestHandler() override {
    for (std::thread& thread : threads_) thread.join();
  }

  void on_request(HttpRequest request, const std::shared_ptr<Exchange>& exchange) override {
    called = true;
    if (request.path == "/echo") {
      exchange->mark_started();
      exchange->reply({.content_type = "text/plain", .body = request.method + " " + request.body});
    } else if (request.path == "/stream") {
      exchange->mark_started();
      threads_.emplace_back([exchange] {
        exchange->start({.content_type = "text/event-stream"});
        for (int i = 0; i < 3; ++i) {
          exchange->write(format_event(std::to_string(i)));
          std::this_thread::sleep_for(milliseconds(5));
        }
        exchange->finish();
      });
    } else if (request.path == "/flood") {  // more than any socket buffer takes
      exchange->mark_started();
      threads_.emplace_back([exchange, this] {
        exchange->start({.content_type = "text/event-stream"});
        // Rests as a job does: on a slow machine too it is the client that ends this, and not the I/O thread.
        while (exchange->write(std::string(10'000, 'x'))) {
          do std::this_thread::sleep_for(milliseconds(1));
          while (exchange->full());
        }
        flood_ended = true;
        exchange->finish();
      });
    } else if (request.path == "/queue") {  // never starts; answers only when it is cancelled
      exchange->on_cancel([exchange](CancelReason reason) {
        exchange->reply(ApiError(reason == CancelReason::kQueueTimeout ? 503 : 504, "late").reply());
      });
    } else if (request.path == "/hang") {
      exchange->mark_started();
      exchange->on_cancel([this, exchange](CancelReason reason) {
        cancelled_at = Clock::now();
        cancel_reason = reason;
        exchange->reply(ApiError(504, "late").reply());
      });
    }
  }
  void on_refused(const ApiError& error) override {
    if (error.limit() != nullptr) on_limit(error.limit());
  }
  void on_limit(LimitField limit) override {
    const std::lock_guard lock(mutex_);
    hits_.insert(limit_info(limit).name);
  }
  void on_connections(std::int64_t open) override { connections = open; }
  bool stop_requested() override { return stop; }
  void on_drain() override { drained = true; }
  bool hit(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    return hits_.contains(name);
  }

  std::atomic<bool> stop{false}, drained{false}, flood_ended{false}, called{false};
  std::atomic<std::int64_t> connections{0};
  std::atomic<CancelReason> cancel_reason{CancelReason::kNone};
  std::atomic<Clock::time_point> cancelled_at{};

 private:
  mutable std::mutex mutex_;
  std::set<std::string> hits_;
  std::vector<std::thread> threads_;
};

class Client {
 public:
  explicit Client(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected = connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() { close(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void send(const std::string& text) {
    ASSERT_EQ(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  /// What comes until `end` is there, the peer closes, or two seconds have passed.
  std::string read(const std::string& end = "") {
    std::string out;
    const auto until = Clock::now() + milliseconds(2000);
    while (Clock::now() < until && (end.empty() || out.find(end) == std::string::npos)) {
      pollfd wanted{fd_, POLLIN, 0};
      if (poll(&wanted, 1, 50) <= 0) continue;
      char piece[4096];
      const ssize_t got = recv(fd_, piece, sizeof piece, 0);
      if (got <= 0) {
        closed = true;
        break;
      }
      out.append(piece, static_cast<std::size_t>(got));
    }
    return out;
  }

  bool connected = false, closed = false;

 private:
  int fd_;
};

/// A server on a thread of its own, until the end of the test.
class Running {
 public:
  explicit Running(const ServeLimits& limits = {})
      : limits_(limits),
        server_({.limits = &limits_}),
        thread_([this] { clean_ = server_.run(handler, [this] { ready_ = true; }); }) {
    while (!ready_) std::this_thread::sleep_for(milliseconds(1));
  }
  ~Running() {
    if (thread_.joinable()) stop();
  }
  bool stop() {
    handler.stop = true;
    thread_.join();
    return clean_;
  }
  int port() const { return server_.port(); }

  TestHandler handler;

 private:
  ServeLimits limits_;
  std::atomic<bool> ready_{false};
  std::atomic<bool> clean_{false};
  HttpServer server_;
  std::thread thread_;
};

int status_of(const std::string& answer) {
  return answer.size() < 12 ? 0 : (answer[9] - '0') * 100 + (answer[10] - '0') * 10 + (answer[11] - '0');
}

template <typename Condition>
bool soon(Condition condition) {
  for (int i = 0; i < 2000 && !condition(); ++i) std::this_thread::sleep_for(milliseconds(1));
  return condition();
}

const std::string kEcho = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

TEST(HttpServer, AnswersAndKeepsTheConnection) {
  Running running;
  Client client(running.port());
  for (int i = 0; i < 3; ++i) {
    client.send(kEcho);
    const std::string answer = client.read("POST hi");
    EXPECT_EQ(status_of(answer), 200) << answer;
    EXPECT_NE(answer.find("Content-Length: 7\r\n"), std::string::npos);
  }
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  EXPECT_NE(client.read().find("Connection: close"), std::string::npos);
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(soon([&] { return running.handler.connections == 0; }));
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  Running running;
  Client client(running.port());
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n" + kEcho + kEcho);
  const std::string answer = client.read("POST hi");
  EXPECT_LT(answer.find("data: 2\n\n"), answer.find("POST hi"));
  EXPECT_LT(answer.find("\r\n0\r\n\r\n"), answer.find("POST hi"));
}

TEST(HttpServer, StreamsChunks) {
  Running running;
  Client client(running.port());
  client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  const std::string answer = client.read("\r\n0\r\n\r\n");
  EXPECT_NE(answer.find("Transfer-Encoding: chunked\r\n"), std::string::npos);
  EXPECT_NE(answer.find("data: 0\n\n"), std::string::npos);
  EXPECT_FALSE(client.closed);
  Client old(running.port());
  old.send("GET /stream HTTP/1.0\r\n\r\n");
  const std::string plain = old.read();
  EXPECT_EQ(plain.find("chunked"), std::string::npos);
  EXPECT_NE(plain.find("data: 0\n\ndata: 1\n\ndata: 2\n\n"), std::string::npos);
  EXPECT_TRUE(old.closed);
}

TEST(HttpServer, SlowHeadAndSlowBodyAndIdle) {
  ServeLimits limits;
  limits.head_timeout_ms = 150;
  limits.body_timeout_ms = 150;
  limits.idle_timeout_ms = 150;
  Running running(limits);
  Client head(running.port()), body(running.port()), idle(running.port()), silent(running.port());
  head.send("GET /echo HTT");
  body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  idle.send(kEcho);
  EXPECT_EQ(status_of(head.read()), 408);
  EXPECT_EQ(status_of(body.read()), 408);
  EXPECT_EQ(status_of(idle.read()), 200);
  EXPECT_EQ(silent.read(), "");
  EXPECT_TRUE(head.closed && body.closed && idle.closed && silent.closed);
  for (const char* name : {"head-timeout-ms", "body-timeout-ms", "idle-timeout-ms"})
    EXPECT_TRUE(running.handler.hit(name)) << name;
}

TEST(HttpServer, ADisconnectCancelsAtOnce) {
  Running running;
  Client client(running.port());
  client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(soon([&] { return running.handler.called.load(); }));
  const auto gone = Clock::now();
  client.close();
  ASSERT_TRUE(soon([&] { return running.handler.cancel_reason == CancelReason::kDisconnected; }));
  EXPECT_LT(running.handler.cancelled_at.load() - gone, milliseconds(250));
}

TEST(HttpServer, QueueAndRequestDeadlines) {
  ServeLimits limits;
  limits.queue_timeout_ms = 100;
  limits.request_timeout_ms = 300;
  Running running(limits);
  Client waiting(running.port()), working(running.port());
  waiting.send("GET /queue HTTP/1.1\r\nHost: a\r\n\r\n");
  working.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(status_of(waiting.read("late")), 503);
  EXPECT_EQ(status_of(working.read("late")), 504);
  EXPECT_EQ(running.handler.cancel_reason, CancelReason::kRequestTimeout);
  EXPECT_TRUE(running.handler.hit("queue-timeout-ms") && running.handler.hit("request-timeout-ms"));
}

TEST(HttpServer, AClientThatDoesNotReadIsBounded) {
  ServeLimits limits;
  limits.max_stream_buffer_bytes = 100'000;
  limits.write_timeout_ms = 300;
  Running running(limits);
  Client client(running.port());
  client.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(soon([&] { return running.handler.flood_ended.load(); }));
  EXPECT_TRUE(soon([&] { return running.handler.connections == 0; }));
  EXPECT_TRUE(running.handler.hit("write-timeout-ms"));
}

TEST(HttpServer, TooMuchSentAheadCloses) {
  ServeLimits limits;
  limits.max_pipelined_bytes = 1000;
  Running running(limits);
  Client client(running.port());
  client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(soon([&] { return running.handler.called.load(); }));
  client.send(std::string(5000, 'x'));
  client.read();
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(soon([&] { return running.handler.hit("max-pipelined-bytes"); }));
}

TEST(HttpServer, ConnectionLimits) {
  ServeLimits limits;
  limits.max_connections_per_address = 2;
  Running running(limits);
  Client one(running.port()), two(running.port());
  one.send(kEcho);
  two.send(kEcho);
  one.read("POST hi");
  two.read("POST hi");
  Client three(running.port());
  const std::string answer = three.read();
  EXPECT_EQ(status_of(answer), 429);
  EXPECT_NE(answer.find("Retry-After: "), std::string::npos);
  one.close();
  EXPECT_TRUE(soon([&] { return running.handler.connections <= 2; }));
  ServeLimits total;
  total.max_connections = 1;
  Running small(total);
  Client first(small.port());
  first.send(kEcho);
  first.read("POST hi");
  EXPECT_EQ(status_of(Client(small.port()).read()), 503);
  EXPECT_TRUE(small.handler.hit("max-connections"));
}

TEST(HttpServer, MalformedRequestsAreAnsweredAndClosed) {
  Running running;
  Client client(running.port());
  client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n");
  EXPECT_EQ(status_of(client.read()), 400);
  EXPECT_TRUE(client.closed);
}

TEST(HttpServer, DrainsWhatRuns) {
  Running running;
  Client idle(running.port()), busy(running.port());
  idle.send(kEcho);
  idle.read("POST hi");
  busy.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  busy.read("data: 0");
  EXPECT_TRUE(running.stop());
  EXPECT_TRUE(running.handler.drained);
  EXPECT_NE(busy.read().find("data: 2"), std::string::npos);
  idle.read();
  EXPECT_TRUE(idle.closed);
  EXPECT_FALSE(Client(running.port()).connected);
}

TEST(HttpServer, TheDrainHasADeadline) {
  ServeLimits limits;
  limits.drain_timeout_ms = 100;
  Running running(limits);
  Client client(running.port());
  client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(soon([&] { return running.handler.called.load(); }));
  EXPECT_FALSE(running.stop());
  EXPECT_EQ(running.handler.cancel_reason, CancelReason::kShutdown);
  EXPECT_EQ(status_of(client.read()), 504);
}

}  // namespace
}  // namespace awq::server
