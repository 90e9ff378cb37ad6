#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

namespace awq {

/// Returns `bytes` of zeroed memory aligned to 64 bytes, in huge pages where the system grants them.
/// Throws Error{kOutOfMemory} that names the size.
void* allocate_pages(std::size_t bytes);
void release_pages(void* memory, std::size_t bytes) noexcept;
/// Calls of allocate_pages() in this process so far: work that is to allocate nothing leaves it as it is.
std::uint64_t page_allocations() noexcept;

/// Owned, zeroed, 64-byte aligned array of a trivial type. Movable, never resized in place.
template <typename T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t count)
      : data_(count == 0 ? nullptr : static_cast<T*>(allocate_pages(count * sizeof(T)))), size_(count) {}
  /// Memory that `owner` keeps for as long as it is referred to.
  AlignedBuffer(T* data, std::size_t count, std::shared_ptr<const void> owner)
      : data_(data), size_(count), owner_(std::move(owner)) {}
  AlignedBuffer(AlignedBuffer&& other) noexcept { swap(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer() {
    if (data_ != nullptr && owner_ == nullptr) release_pages(data_, size_ * sizeof(T));
  }

  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  T& operator[](std::size_t i) noexcept { return data_[i]; }
  const T& operator[](std::size_t i) const noexcept { return data_[i]; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  std::span<T> span() noexcept { return {data_, size_}; }
  std::span<const T> span() const noexcept { return {data_, size_}; }
  std::span<const std::byte> bytes() const noexcept { return std::as_bytes(span()); }

  /// Replaces a buffer that is smaller than `count`; contents are not kept.
  void ensure(std::size_t count) {
    if (size_ < count) {
      AlignedBuffer().swap(*this);
      AlignedBuffer(count).swap(*this);
    }
  }
  void swap(AlignedBuffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    owner_.swap(other.owner_);
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::shared_ptr<const void> owner_;
};

}  // namespace awq
