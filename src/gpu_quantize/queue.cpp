#include "gpu_quantize/queue.h"

#include <algorithm>

namespace awq::gpu_quantize {

std::int64_t rows_per_chunk(std::int64_t rows, std::int64_t width, std::int64_t unit) {
  return std::min(rows, std::max(kScratchFloats / width / unit, std::int64_t{1}) * unit);
}

}  // namespace awq::gpu_quantize
