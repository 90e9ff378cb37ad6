#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

/// What the programs that check and profile kernels on a device share.
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

}  // namespace awq::gpu_test
