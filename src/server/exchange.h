#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "server/http_types.h"

namespace awq::server {

/// Why a request ends before its answer does.
enum class CancelReason { kNone, kDisconnected, kQueueTimeout, kRequestTimeout, kSlowReader, kShutdown };

/// One request on its way: workers write the answer at one end, the connection's coroutine takes it at the other. Any
/// thread may call anything. The wake-up is called without a lock held.
class Exchange {
 public:
  /// `wake` is called whenever there is something to take; `buffer_limit` bounds what waits to be taken: from half of
  /// it on the exchange is full, until all has been taken.
  Exchange(std::function<void()> wake, std::size_t buffer_limit)
      : wake_(std::move(wake)), buffer_limit_(buffer_limit) {}

  // The workers' end. After the connection has gone all of these do nothing.

  /// The whole answer. Or else start(), write()... and finish().
  void reply(HttpReply reply);
  void start(HttpReply head);
  /// False when the answer is not wanted any more, or so much of it waits that the piece does not fit (then it is
  /// cancelled). Where nothing waits any piece fits.
  bool write(std::string piece);
  /// Whoever makes the stream should rest while this is true; never once it has been cancelled.
  bool full() const;
  /// Called after full() has changed, on the thread that changed it; calls may overtake each other, so ask full()
  /// again.
  void on_full(std::function<void()> callback);
  void finish();
  /// Called once when the request is cancelled, at once when it was already. Replaces an earlier one.
  void on_cancel(std::function<void(CancelReason)> callback);
  bool cancelled() const;
  /// The first token is being computed: the queue deadline no longer applies.
  void mark_started();

  // The connection's end.

  struct Output {
    std::optional<HttpReply> head;  ///< status and headers; with `whole`, also the body
    bool whole = false;
    std::string bytes;  ///< of a stream
    bool finished = false;
    bool empty() const { return !head && bytes.empty() && !finished; }
  };
  Output take();
  void cancel(CancelReason reason);
  bool started() const;

 private:
  const std::function<void()> wake_;
  const std::size_t buffer_limit_;
  mutable std::mutex mutex_;
  Output output_;
  bool ended_ = false;  ///< reply() or finish() was called
  bool started_ = false;
  bool full_ = false;
  CancelReason cancelled_ = CancelReason::kNone;
  std::function<void(CancelReason)> on_cancel_;
  std::function<void()> on_full_;
};

}  // namespace awq::server
