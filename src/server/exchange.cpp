#include "server/exchange.h"

#include <utility>

namespace awq::server {

void Exchange::reply(HttpReply reply) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
    output_.head = std::move(reply);
    output_.whole = true;
    output_.finished = true;
  }
  wake_();
}

void Exchange::start(HttpReply head) {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    output_.head = std::move(head);
  }
  wake_();
}

bool Exchange::write(std::string piece) {
  bool overflow = false;
  std::function<void()> full;
  {
    const std::lock_guard lock(mutex_);
    if (ended_ || cancelled_ == CancelReason::kDisconnected) return false;
    // What a slow reader lets wait is bounded; the last words (an error event) still go in.
    overflow = cancelled_ == CancelReason::kNone && !output_.bytes.empty() &&
               output_.bytes.size() + piece.size() > buffer_limit_;
    if (!overflow) output_.bytes += piece;
    if (!full_ && output_.bytes.size() > buffer_limit_ / 2) {
      full_ = true;
      full = on_full_;
    }
  }
  if (overflow) {
    cancel(CancelReason::kSlowReader);
    return false;
  }
  wake_();
  if (full) full();
  return true;
}

bool Exchange::full() const {
  const std::lock_guard lock(mutex_);
  return full_ && cancelled_ == CancelReason::kNone;
}

void Exchange::on_full(std::function<void()> callback) {
  const std::lock_guard lock(mutex_);
  on_full_ = std::move(callback);
}

void Exchange::finish() {
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
    output_.finished = true;
  }
  wake_();
}

void Exchange::on_cancel(std::function<void(CancelReason)> callback) {
  CancelReason reason = CancelReason::kNone;
  {
    const std::lock_guard lock(mutex_);
    reason = cancelled_;
    if (reason == CancelReason::kNone) on_cancel_ = std::move(callback);
  }
  if (reason != CancelReason::kNone && callback) callback(reason);
}

bool Exchange::cancelled() const {
  const std::lock_guard lock(mutex_);
  return cancelled_ != CancelReason::kNone;
}

void Exchange::mark_started() {
  const std::lock_guard lock(mutex_);
  started_ = true;
}

bool Exchange::started() const {
  const std::lock_guard lock(mutex_);
  return started_;
}

Exchange::Output Exchange::take() {
  std::function<void()> room;
  Output out;
  {
    const std::lock_guard lock(mutex_);
    out = std::exchange(output_, {});
    if (std::exchange(full_, false)) room = on_full_;
  }
  if (room) room();
  return out;
}

void Exchange::cancel(CancelReason reason) {
  std::function<void(CancelReason)> callback;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_ != CancelReason::kNone) return;
    cancelled_ = reason;
    callback = std::exchange(on_cancel_, nullptr);
  }
  if (callback) callback(reason);
}

}  // namespace awq::server
