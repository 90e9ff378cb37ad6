#include <cuda_runtime.h>

#include <atomic>
#include <cstring>

#include "base/check.h"
#include "device/device.h"
#include "device/memory.h"

namespace awq::device {
namespace {

std::atomic<std::uint64_t> in_use{0}, most_in_use{0};

void count_in(std::uint64_t bytes) {
  const std::uint64_t now = in_use += bytes;
  std::uint64_t most = most_in_use;
  while (now > most && !most_in_use.compare_exchange_weak(most, now)) {
  }
}

}  // namespace

std::uint64_t peak_buffer_bytes() { return most_in_use; }

Buffer::Buffer(std::uint64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* data = nullptr;
  const cudaError_t status = cudaMalloc(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    const MemoryInfo info = memory();
    fail(ErrorCode::kOutOfMemory, "device memory: {} bytes are needed, {} of {} are free", bytes, info.free_bytes,
         info.total_bytes);
  }
  check(status, "cudaMalloc");
  data_ = static_cast<std::byte*>(data);
  count_in(bytes);
}
// Nothing can be done about an error here: the process that lost its device is about to end.
Buffer::~Buffer() {
  if (data_ == nullptr) return;
  cudaFree(data_);
  in_use -= bytes_;
}

PinnedBuffer::PinnedBuffer(std::uint64_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  void* data = nullptr;
  const cudaError_t status = cudaMallocHost(&data, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    fail(ErrorCode::kOutOfMemory, "{} bytes of page-locked memory are needed", bytes);
  }
  check(status, "cudaMallocHost");
  data_ = static_cast<std::byte*>(data);
  std::memset(data_, 0, bytes);
}
PinnedBuffer::~PinnedBuffer() {
  if (data_ != nullptr) cudaFreeHost(data_);
}

void upload(void* to, const void* from, std::uint64_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "a copy to the device");
}
void download(void* to, const void* from, std::uint64_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost), "a copy from the device");
}
void upload(void* to, const void* from, std::uint64_t bytes, const Stream& stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream.get()), "a copy to the device");
}
void download(void* to, const void* from, std::uint64_t bytes, const Stream& stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream.get()), "a copy from the device");
}
void copy(void* to, const void* from, std::uint64_t bytes, const Stream& stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream.get()), "a copy on the device");
}
void fill(void* to, int byte, std::uint64_t bytes, const Stream& stream) {
  check(cudaMemsetAsync(to, byte, bytes, stream.get()), "cudaMemset");
}

}  // namespace awq::device
