#include "ops/rope.h"

#include <cmath>

#include "ops/elementwise.h"

namespace awq::ops {

RopeTable RopeTable::make(const std::vector<float>& frequencies, float attention_factor, std::int64_t positions) {
  RopeTable table;
  table.pairs = static_cast<std::int64_t>(frequencies.size());
  const auto count = static_cast<std::size_t>(positions) * frequencies.size();
  table.cosine.resize(count);
  table.sine.resize(count);
#pragma omp parallel for schedule(static) if (count > 65536)
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::size_t j = 0; j < frequencies.size(); ++j) {
      const double angle = static_cast<double>(static_cast<float>(p) * frequencies[j]);
      const std::size_t i = static_cast<std::size_t>(p) * frequencies.size() + j;
      table.cosine[i] = static_cast<float>(std::cos(angle)) * attention_factor;
      table.sine[i] = static_cast<float>(std::sin(angle)) * attention_factor;
    }
  }
  return table;
}

void apply_rope(float* x, std::int64_t rows, std::int64_t heads, std::int64_t head_dim, const std::int64_t* positions,
                const RopeTable& table) {
  const kernels::ElementwiseKernel& kernel = select_elementwise();
#pragma omp parallel for schedule(static) if (rows * heads * head_dim >= 32768)
  for (std::int64_t t = 0; t < rows; ++t) {
    const float* c = table.cosine.data() + positions[t] * table.pairs;
    const float* s = table.sine.data() + positions[t] * table.pairs;
    for (std::int64_t h = 0; h < heads; ++h) kernel.rotate(x + (t * heads + h) * head_dim, c, s, head_dim / 2);
  }
}

}  // namespace awq::ops
