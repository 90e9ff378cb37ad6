#pragma once

#include <cstddef>
#include <span>

#include "formats/checkpoint.h"

namespace awq::model {

/// Reads all of a tensor [rows, ...] into `to`, which nobody has written to. Each thread of the caller's team reads the
/// rows that it will multiply (ops::thread_rows()), so that with several memory nodes they come to lie on its own; and
/// copies from the page cache take all threads. Throws as Checkpoint::read().
void read_rows(const formats::Checkpoint& checkpoint, const formats::Checkpoint::Tensor& tensor, std::uint64_t rows,
               std::span<std::byte> to);

}  // namespace awq::model
