#pragma once

#include <algorithm>

#include "base/aligned_buffer.h"

namespace awq {

/// A buffer of its own with the same contents. A function and no constructor, because copies of weights should show.
template <typename T>
AlignedBuffer<T> copy_of(const AlignedBuffer<T>& from) {
  AlignedBuffer<T> to(from.size());
  std::copy(from.begin(), from.end(), to.begin());
  return to;
}

}  // namespace awq
