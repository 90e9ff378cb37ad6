#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/api_error.h"

namespace awq::server {

/// Bytes of request bodies that are held at the moment, over all connections.
class BodyBudget {
 public:
  explicit BodyBudget(std::int64_t limit) : limit_(limit) {}
  bool take(std::int64_t bytes) {
    if (held_.fetch_add(bytes) + bytes <= limit_) return true;
    held_.fetch_sub(bytes);
    return false;
  }
  void give_back(std::int64_t bytes) { held_.fetch_sub(bytes); }
  std::int64_t held() const { return held_.load(); }

 private:
  std::int64_t limit_;
  std::atomic<std::int64_t> held_{0};
};

/// One HTTP/1.1 request from bytes as they arrive: strict about framing, and bounded. The head is collected and looked
/// at as a whole (no bare line ends, no folded or repeated framing fields, counts and sizes) before Beast parses it;
/// bodies are counted as they are decoded, whichever way they are framed. No sockets, no clock.
class RequestReader {
 public:
  RequestReader(const ServeLimits& limits, BodyBudget& budget);
  ~RequestReader();
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  enum class State { kHead, kBody, kDone, kFailed };

  /// Takes bytes from the front of `bytes`; returns how many. Those left over have to come again, with more behind
  /// them.
  std::size_t feed(std::string_view bytes);
  State state() const { return state_; }
  /// True once a byte of the head has come.
  bool started() const { return !head_.empty(); }
  /// The client waits for "100 Continue" before it sends the body. True once, after the head.
  bool take_expectation();
  /// What is wrong; the connection has to be closed after the answer.
  const ApiError& problem() const { return *problem_; }
  /// The request; call once, in state kDone. Its body stays in the budget until this reader goes.
  HttpRequest take();

 private:
  class Parser;
  std::size_t feed_head(std::string_view bytes);
  std::size_t feed_body(std::string_view bytes);
  void check_request_line(std::string_view line);
  void check_head();
  void fail(ApiError error);

  const ServeLimits& limits_;
  State state_ = State::kHead;
  std::string head_;
  bool expectation_ = false;
  std::uint64_t wire_bytes_ = 0;  ///< of the body, framing included
  std::unique_ptr<Parser> parser_;
  std::optional<ApiError> problem_;
};

}  // namespace awq::server
