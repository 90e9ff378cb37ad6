#pragma once

#include <cstddef>
#include <memory>

#include "base/aligned_buffer.h"

namespace awq {

/// Memory for many buffers of any size that live about as long as each other: pieces of large mappings in huge pages,
/// one behind the other. A buffer of 2 MiB in a mapping of its own would lie in small pages for the most part, which
/// costs a reader that streams through it a tenth of its speed. A mapping goes when the last buffer in it does. Not for
/// several threads at once.
class PageArena {
 public:
  /// `count` zeroed numbers, aligned to 4 KiB. Throws Error{kOutOfMemory}.
  template <typename T>
  AlignedBuffer<T> take(std::size_t count) {
    if (count == 0) return {};
    void* memory = take_bytes(count * sizeof(T));
    return AlignedBuffer<T>(static_cast<T*>(memory), count, mapping_);
  }

 private:
  struct Mapping;
  void* take_bytes(std::size_t bytes);

  std::shared_ptr<Mapping> mapping_;
  std::size_t used_ = 0;
};

}  // namespace awq
