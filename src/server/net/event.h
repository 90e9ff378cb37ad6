#pragma once

#include <utility>
// Asio before 1.75 uses std::exchange without including it.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "server/net/hub.h"

namespace awq::server::net {

/// Lets one coroutine wait for another of the same thread. A notification that comes early is kept.
class Event {
 public:
  explicit Event(asio::io_context& io) : timer_(io) {}

  void notify() {
    if (std::exchange(set_, true)) return;
    timer_.cancel();
  }
  /// False when `until` came first.
  asio::awaitable<bool> wait(Clock::time_point until = Clock::time_point::max()) {
    if (!set_) {
      boost::system::error_code ec;
      timer_.expires_at(until);
      co_await timer_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
    }
    co_return std::exchange(set_, false);
  }

 private:
  asio::steady_timer timer_;
  bool set_ = false;
};

}  // namespace awq::server::net
