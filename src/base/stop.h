#pragma once

#include <atomic>

#include "base/check.h"

namespace awq {

/// A request to stop, set from a signal handler and polled at safe points.
class StopFlag {
 public:
  void request(int signal_number) noexcept { signal_.store(signal_number, std::memory_order_relaxed); }
  /// Takes the request back: the caller has dealt with it.
  void clear() noexcept { signal_.store(0, std::memory_order_relaxed); }
  int signal_number() const noexcept { return signal_.load(std::memory_order_relaxed); }

  /// Throws Error{kInterrupted} once a stop was requested.
  void throw_if_requested() const {
    if (const int number = signal_number(); number != 0) {
      throw Error(ErrorCode::kInterrupted, fmt::format("stopped by signal {}", number)).set_signal(number);
    }
  }

 private:
  std::atomic<int> signal_{0};
};

/// The process-wide flag that the command line's signal handler sets.
StopFlag& stop_flag() noexcept;

}  // namespace awq
