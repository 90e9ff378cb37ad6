// The whole server in one process: connections, workers and the engine's thread at once. For the thread sanitizer.

#include "server/serve.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "awq/error.h"
#include "base/stop.h"
#include "support/paths.h"

namespace awq::server {
namespace {

/// Sends one request on a connection of its own and gives all of the answer, or its first `most` bytes.
std::string ask(int port, const std::string& method, const std::string& path, const std::string& body = "",
                std::size_t most = 1 << 20) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string out;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    const std::string text = method + " " + path +
                             " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
                             "Content-Length: " +
                             std::to_string(body.size()) + "\r\n\r\n" + body;
    send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    char piece[4096];
    while (out.size() < most) {
      const ssize_t got = recv(fd, piece, sizeof piece, 0);
      if (got <= 0) break;
      out.append(piece, static_cast<std::size_t>(got));
    }
  }
  close(fd);
  return out;
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

TEST(Serve, ManyThreadsAtOnce) {
  const std::filesystem::path model = std::filesystem::path(AWQ_SOURCE_DIR) / "models" / "books-12m";
  std::atomic<int> port{0}, signal{-1};
  ServeOptions options;
  options.model = model;
  options.port = 0;
  options.max_num_seqs = 4;
  options.spec_tokens = 3;
  options.limits.max_requests = 6;
  options.limits.drain_timeout_ms = 0;
  options.log_level = "off";
  options.on_ready = [&](const std::string&, int found) { port = found; };
  std::thread server([&] {
    try {
      serve(options);
    } catch (const Error& error) {
      signal = error.code() == ErrorCode::kInterrupted ? error.signal() : -2;
    }
  });
  while (port == 0 && signal == -1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_GT(port, 0);

  const std::string fields = R"({"prompt": "The old man", "max_tokens": 12, "ignore_eos": true)";
  std::atomic<int> good{0}, refused{0}, other{0};
  const auto count = [&](const std::string& answer) {
    ++(has(answer, " 200 OK\r\n") ? good : has(answer, " 429 ") ? refused : other);
  };
  std::vector<std::thread> clients;
  clients.reserve(10);
  for (int i = 0; i < 10; ++i) {
    clients.emplace_back([&, i] {
      for (int j = 0; j < 4; ++j) {
        switch ((i + j) % 5) {
          case 0:
            count(ask(port, "POST", "/v1/completions", fields + R"(, "temperature": 0})"));
            break;
          case 1:
            count(ask(port, "POST", "/v1/completions", fields + R"(, "stream": true, "n": 2, "logprobs": 2})"));
            break;
          case 2:  // goes away in the middle
            ask(port, "POST", "/v1/completions", fields + R"(, "stream": true, "n": 3})", 300);
            break;
          case 3:
            count(ask(port, "POST", "/v1/completions", fields + R"(, "guided_regex": "[a-z]{4}"})"));
            EXPECT_TRUE(has(ask(port, "GET", "/metrics"), "vllm:num_requests_running"));  // also when all is full
            break;
          default:
            EXPECT_FALSE(has(ask(port, "POST", "/v1/completions", fields + R"(, "temperature": 9})"), " 200 "));
            count(ask(port, "POST", "/tokenize", R"({"prompt": "a b c"})"));
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GT(good, 0);
  EXPECT_EQ(other, 0);
  EXPECT_EQ(good + refused, 32);
  // What runs when the signal comes is cancelled, with an answer.
  std::thread late([&] { ask(port, "POST", "/v1/completions", fields + R"(, "stream": true, "n": 8})"); });
  ask(port, "GET", "/health");
  stop_flag().request(SIGTERM);
  server.join();
  late.join();
  stop_flag().clear();
  EXPECT_EQ(signal, SIGTERM);
}

}  // namespace
}  // namespace awq::server
