#pragma once

#include <cstdint>

namespace awq::ops {

struct BlockRange {
  std::int64_t begin = 0, end = 0;
};
/// Which of `blocks` blocks of packed weights a thread of a team works on. Packing and products use the same division,
/// so that memory lies near the processor that reads it.
BlockRange thread_blocks(std::int64_t blocks, int thread, int threads);
/// The same for the `rows` rows of dense weights.
BlockRange thread_rows(std::int64_t rows, int thread, int threads);

}  // namespace awq::ops
