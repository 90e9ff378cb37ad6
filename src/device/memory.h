#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "device/stream.h"

namespace awq::device {

/// Memory of the device, from one allocation, uninitialized.
class Buffer {
 public:
  Buffer() = default;
  /// Throws kOutOfMemory naming what was asked for and what is free.
  explicit Buffer(std::uint64_t bytes);
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer();

  std::byte* data() const { return data_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// The most bytes that buffers held at a time so far.
std::uint64_t peak_buffer_bytes();

/// Page-locked memory of the host, which the device copies from and to without waiting for anybody; zeroed.
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  /// Throws kOutOfMemory.
  explicit PinnedBuffer(std::uint64_t bytes);
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PinnedBuffer();

  std::byte* data() const { return data_; }
  std::uint64_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// Parts of an arena start at multiples of this.
inline constexpr std::uint64_t kAlignment = 256;
constexpr std::uint64_t aligned(std::uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

/// One allocation cut into aligned parts that live as long as it does. Measure first, then take: an arena without
/// memory hands out offsets only, and used() says what the same calls will need.
class Arena {
 public:
  Arena() = default;
  explicit Arena(std::uint64_t bytes) : memory_(bytes) {}
  /// `bytes` of memory; null while measuring. Throws kInternal when the arena is full.
  std::byte* take(std::uint64_t bytes);
  template <typename T>
  T* take_array(std::int64_t count) {
    return reinterpret_cast<T*>(take(static_cast<std::uint64_t>(count) * sizeof(T)));
  }
  std::uint64_t used() const { return used_; }
  std::uint64_t bytes() const { return memory_.bytes(); }

 private:
  Buffer memory_;
  std::uint64_t used_ = 0;
};

/// Copies that return when they are done; for loading.
void upload(void* to, const void* from, std::uint64_t bytes);
void download(void* to, const void* from, std::uint64_t bytes);
/// Copies in the order of the stream. Host memory has to be pinned.
void upload(void* to, const void* from, std::uint64_t bytes, const Stream& stream);
void download(void* to, const void* from, std::uint64_t bytes, const Stream& stream);
void copy(void* to, const void* from, std::uint64_t bytes, const Stream& stream);
void fill(void* to, int byte, std::uint64_t bytes, const Stream& stream);

}  // namespace awq::device
