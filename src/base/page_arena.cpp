#include "base/page_arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

#include "base/check.h"

namespace awq {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kSmallPage = std::size_t{4} << 10;
// Only what is touched takes memory.
constexpr std::size_t kMappingBytes = std::size_t{256} << 20;

std::size_t rounded_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

struct PageArena::Mapping {
  void* memory = nullptr;
  std::size_t mapped = 0;
  std::byte* begin = nullptr;  ///< of the first whole huge page
  std::size_t size = 0;

  explicit Mapping(std::size_t bytes) : mapped(rounded_up(bytes, kHugePage) + kHugePage), size(mapped - kHugePage) {
    memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail(ErrorCode::kOutOfMemory, "cannot allocate {} bytes of memory", bytes);
    begin = static_cast<std::byte*>(memory) +
            (kHugePage - reinterpret_cast<std::uintptr_t>(memory) % kHugePage) % kHugePage;
    madvise(begin, size, MADV_HUGEPAGE);  // advice only: failure costs speed, nothing else
  }
  ~Mapping() { munmap(memory, mapped); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
};

void* PageArena::take_bytes(std::size_t bytes) {
  if (mapping_ == nullptr || bytes > mapping_->size - used_) {
    mapping_ = std::make_shared<Mapping>(bytes > kMappingBytes ? bytes : kMappingBytes);
    used_ = 0;
  }
  void* out = mapping_->begin + used_;
  used_ = std::min(mapping_->size, used_ + rounded_up(bytes, kSmallPage));
  return out;
}

}  // namespace awq
