#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

/// What the programs that check and time kernels on a device share.
namespace awq::gpu_test {

inline void check(int error, const char* what) {
  if (error != 0) {
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(static_cast<cudaError_t>(error)));
    std::exit(1);
  }
}
#define AWQ_GPU(call) ::awq::gpu_test::check(static_cast<int>(call), #call)

/// Device memory, freed at the end.
template <class T>
class Buffer {
 public:
  explicit Buffer(std::size_t count) : count_(count) {
    AWQ_GPU(cudaMalloc(&data_, std::max<std::size_t>(count, 1) * sizeof(T)));
  }
  Buffer(const std::vector<T>& from) : Buffer(from.size()) { upload(from); }
  ~Buffer() { cudaFree(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* get() const { return data_; }
  std::size_t count() const { return count_; }
  void upload(const std::vector<T>& from) {
    AWQ_GPU(cudaMemcpy(data_, from.data(), from.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> download() const {
    std::vector<T> to(count_);
    AWQ_GPU(cudaMemcpy(to.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return to;
  }
  /// Bytes of 0xff: NaN in every floating-point type.
  void poison() { AWQ_GPU(cudaMemset(data_, 0xff, count_ * sizeof(T))); }

 private:
  T* data_ = nullptr;
  std::size_t count_ = 0;
};

/// Median microseconds of one call of `body(i)`, i = 0 .. launches - 1, replayed as a graph until about `budget_ms`
/// have passed.
inline double time_launches(cudaStream_t stream, int launches, const std::function<void(int)>& body,
                            double budget_ms = 15) {
  cudaGraph_t graph;
  cudaGraphExec_t exec;
  AWQ_GPU(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  for (int i = 0; i < launches; ++i) body(i);
  AWQ_GPU(cudaStreamEndCapture(stream, &graph));
  AWQ_GPU(cudaGraphInstantiate(&exec, graph, 0));
  cudaEvent_t begin, end;
  AWQ_GPU(cudaEventCreate(&begin));
  AWQ_GPU(cudaEventCreate(&end));
  std::vector<double> times;
  double total = 0;
  for (int i = 0; i < 60 && (i < 5 || total < budget_ms); ++i) {
    AWQ_GPU(cudaEventRecord(begin, stream));
    AWQ_GPU(cudaGraphLaunch(exec, stream));
    AWQ_GPU(cudaEventRecord(end, stream));
    AWQ_GPU(cudaEventSynchronize(end));
    float ms = 0;
    AWQ_GPU(cudaEventElapsedTime(&ms, begin, end));
    total += ms;
    if (i >= 2) times.push_back(ms * 1e3 / launches);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

}  // namespace awq::gpu_test
