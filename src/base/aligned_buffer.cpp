#include "base/aligned_buffer.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>

#include "base/check.h"

namespace awq {
namespace {

// Below this size the C library's heap is cheaper than a mapping of our own.
constexpr std::size_t kMapThreshold = std::size_t{1} << 21;

std::atomic<std::uint64_t> g_allocations{0};

[[noreturn]] void out_of_memory(std::size_t bytes) {
  fail(ErrorCode::kOutOfMemory, "cannot allocate {} bytes of memory", bytes);
}

}  // namespace

void* allocate_pages(std::size_t bytes) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  if (bytes >= kMapThreshold) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) out_of_memory(bytes);
    madvise(memory, bytes, MADV_HUGEPAGE);  // advice only: failure costs speed, nothing else
    return memory;
  }
  const std::size_t rounded = (bytes + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, rounded);
  if (memory == nullptr) out_of_memory(bytes);
  std::memset(memory, 0, rounded);
  return memory;
}

std::uint64_t page_allocations() noexcept { return g_allocations.load(std::memory_order_relaxed); }

void release_pages(void* memory, std::size_t bytes) noexcept {
  if (bytes >= kMapThreshold) {
    munmap(memory, bytes);
  } else {
    std::free(memory);
  }
}

}  // namespace awq
