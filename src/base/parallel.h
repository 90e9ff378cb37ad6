#pragma once

#include <atomic>
#include <exception>
#include <utility>

namespace awq {

/// Carries an exception out of an OpenMP region: one that left the region by itself would end the program.
///
///   ParallelError error;
///   #pragma omp parallel for
///   for (std::int64_t i = 0; i < count; ++i) error.guard([&] { may_throw(i); });
///   error.rethrow();
///
/// After a failure the bodies that have not begun are skipped, and rethrow() throws what came first. Bodies that
/// neither allocate nor check anything need none of this.
class ParallelError {
 public:
  template <typename Body>
  void guard(Body&& body) noexcept {
    if (failed_.load(std::memory_order_relaxed)) return;
    try {
      std::forward<Body>(body)();
    } catch (...) {
      if (!failed_.exchange(true)) first_ = std::current_exception();
    }
  }

  bool failed() const noexcept { return failed_.load(std::memory_order_relaxed); }

  /// Call after the region, on the thread that opened it.
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  std::atomic<bool> failed_{false};
  std::exception_ptr first_;
};

}  // namespace awq
