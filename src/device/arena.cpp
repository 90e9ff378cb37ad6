#include "base/check.h"
#include "device/memory.h"

namespace awq::device {

std::byte* Arena::take(std::uint64_t bytes) {
  const std::uint64_t begin = used_;
  used_ += aligned(bytes);
  if (memory_.data() == nullptr) return nullptr;
  AWQ_CHECK(used_ <= memory_.bytes());
  return memory_.data() + begin;
}

}  // namespace awq::device
