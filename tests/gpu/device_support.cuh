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
  if (error == 0) return;
  std::printf("FATAL %s: %s\n", what, cudaGetErrorString(static_cast<cudaError_t>(error)));
  std::exit(2);
}
#define AWQ_GPU(call) ::awq::gpu_test::check(static_cast<int>(call), #call)

/// Device memory, freed at the end; every bit set at first, a NaN of every floating-point type.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    AWQ_GPU(cudaMalloc(reinterpret_cast<void**>(&data_), std::max<std::size_t>(count, 1) * sizeof(T)));
    poison();
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) { upload(values); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { (void)cudaFree(data_); }

  void poison() { AWQ_GPU(cudaMemset(data_, 0xff, count_ * sizeof(T))); }
  void upload(const std::vector<T>& values) {
    AWQ_GPU(cudaMemcpy(data_, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> download() const {
    std::vector<T> values(count_);
    AWQ_GPU(cudaMemcpy(values.data(), data_, count_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }
  T* data() const { return data_; }
  std::size_t size() const { return count_; }

 private:
  T* data_ = nullptr;
  std::size_t count_;
};

}  // namespace awq::gpu_test
