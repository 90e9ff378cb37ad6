#include "quantize/hidden_states.h"

namespace awq::quantize {

void HiddenStates::load(std::int64_t begin, std::int64_t count, float* out) const {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count * width_; ++i)
    out[i] = to_float(values_[static_cast<std::size_t>(begin * width_ + i)]);
}

void HiddenStates::store(std::int64_t begin, std::int64_t count, const float* from) {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count * width_; ++i)
    values_[static_cast<std::size_t>(begin * width_ + i)] = to_bf16(from[i]);
}

}  // namespace awq::quantize
