#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace awq::server {

/// Threads for everything that would hold up connections or the engine: parsing, templates, tokenizing, formatting.
/// Tasks answer for what they throw; what comes as far as here is logged and the thread goes on. Their number is
/// bounded by the callers: at most two per open request, and one per connection for a report.
class WorkerPool {
 public:
  explicit WorkerPool(int threads);
  /// Runs what is queued, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void post(std::function<void()> task);

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace awq::server
