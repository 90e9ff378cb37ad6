#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/device.h"
#include "device/matrix_product.h"
#include "device/memory.h"
#include "device/stream.h"

namespace awq::gpu_quantize {

/// The one queue of work of a quantization, with the products that run in it.
class Queue {
 public:
  Queue() : workspace_(device::MatrixProduct::kWorkspaceBytes), product_(workspace_.data()) {}

  kernels::cuda::Stream get() const { return stream_.get(); }
  const device::Stream& stream() const { return stream_; }
  /// c = alpha op(a) op(b) + beta c
  void multiply(const device::MatrixShape& shape, const void* a, const void* b, float* c, float alpha = 1,
                float beta = 0) {
    product_.run(shape, alpha, a, b, beta, c, stream_);
  }
  /// Waits for all before it, then copies.
  template <typename T>
  void download(std::span<T> to, const void* from) const {
    stream_.synchronize();
    device::download(to.data(), from, to.size_bytes());
  }
  void upload(void* to, const void* from, std::uint64_t bytes) const {
    stream_.synchronize();  // what is written may be in use
    device::upload(to, from, bytes);
  }
  void clear(const device::Buffer& buffer) const { device::fill(buffer.data(), 0, buffer.bytes(), stream_); }

 private:
  device::Stream stream_;
  device::Buffer workspace_;
  device::MatrixProduct product_;
};

/// Numbers on the device.
template <typename T>
class Array {
 public:
  Array() = default;
  explicit Array(std::int64_t count) : buffer_(static_cast<std::uint64_t>(count) * sizeof(T)) {}

  T* data() const { return reinterpret_cast<T*>(buffer_.data()); }
  std::int64_t size() const { return static_cast<std::int64_t>(buffer_.bytes() / sizeof(T)); }
  bool empty() const { return buffer_.bytes() == 0; }
  std::uint64_t bytes() const { return buffer_.bytes(); }
  const device::Buffer& buffer() const { return buffer_; }
  /// Grows to `count` at least; what was there is lost then.
  void ensure(std::int64_t count) {
    if (count <= size()) return;
    *this = Array();  // both at once might not fit
    *this = Array(count);
  }

 private:
  device::Buffer buffer_;
};

template <typename T>
Array<T> uploaded(std::span<const T> values, const Queue& queue) {
  Array<T> out(static_cast<std::int64_t>(values.size()));
  if (!values.empty()) queue.upload(out.data(), values.data(), values.size_bytes());
  return out;
}

template <typename T>
std::vector<T> downloaded(const Array<T>& values, const Queue& queue) {
  std::vector<T> out(static_cast<std::size_t>(values.size()));
  queue.download(std::span<T>(out), values.data());
  return out;
}

/// Rows of `width` numbers that one piece of scratch memory holds, a multiple of `unit` unless that is all of them.
inline constexpr std::int64_t kScratchFloats = std::int64_t{1} << 25;
std::int64_t rows_per_chunk(std::int64_t rows, std::int64_t width, std::int64_t unit);

}  // namespace awq::gpu_quantize
