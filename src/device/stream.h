#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "kernels/api/cuda_types.h"

struct CUevent_st;
struct CUgraphExec_st;

namespace awq::device {

/// A queue of work for the device.
class Stream {
 public:
  Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream();
  kernels::cuda::Stream get() const { return stream_; }
  /// Waits for all work so far. Throws kDevice when some of it failed.
  void synchronize() const;

 private:
  kernels::cuda::Stream stream_ = nullptr;
};

/// A point in a stream, with the time when the device passed it.
class Event {
 public:
  Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event();
  void record(const Stream& stream);
  void synchronize() const;
  /// Seconds from `begin` to this one; both have to be over.
  double seconds_since(const Event& begin) const;

 private:
  CUevent_st* event_ = nullptr;
};

/// Work that was recorded once and is started as a whole.
class Graph {
 public:
  Graph() = default;
  /// Records what `enqueue` puts into `stream`; nothing of it runs.
  Graph(const Stream& stream, const std::function<void()>& enqueue);
  Graph(Graph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(graph_, other.graph_);
    return *this;
  }
  ~Graph();
  bool empty() const { return graph_ == nullptr; }
  void launch(const Stream& stream) const;

 private:
  CUgraphExec_st* graph_ = nullptr;
};

}  // namespace awq::device
