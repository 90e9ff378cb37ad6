#include "kernels/ref/linear_ref.h"

#include <cstring>
#include <type_traits>

#include "base/float16.h"

namespace awq::kernels::ref {
namespace {

template <typename T>
float weight_at(const void* weight, std::int64_t i) {
  T value;
  std::memcpy(&value, static_cast<const char*>(weight) + i * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  if constexpr (std::is_same_v<T, float>) {
    return value;
  } else {
    return to_float(value);
  }
}

template <typename T>
void dense(const LinearArgs& a, std::int64_t n_begin, std::int64_t n_end) noexcept {
  for (std::int64_t n = n_begin; n < n_end; ++n) {
    for (std::int64_t m = 0; m < a.m; ++m) {
      float sum = 0;
      for (std::int64_t k = 0; k < a.k; ++k) sum += a.x[m * a.k + k] * weight_at<T>(a.weight, n * a.k + k);
      a.y[m * a.n + n] = a.bias != nullptr ? sum + a.bias[n] : sum;
    }
  }
}

const char* always(const LinearArgs&) { return nullptr; }

}  // namespace

const LinearKernel kF32 = {"linear_f32_f32_f32_ref", WeightKind::kF32, 0, always, dense<float>};
const LinearKernel kBf16 = {"linear_f32_bf16_f32_ref", WeightKind::kBf16, 0, always, dense<Bf16>};
const LinearKernel kF16 = {"linear_f32_f16_f32_ref", WeightKind::kF16, 0, always, dense<F16>};

}  // namespace awq::kernels::ref
