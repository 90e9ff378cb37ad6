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

int code_at(const std::uint8_t* row, std::int64_t k) {
  const std::uint8_t byte = row[k / 32 * 16 + k % 16];
  return k % 32 < 16 ? byte & 15 : byte >> 4;
}

void u4(const LinearArgs& a, std::int64_t n_begin, std::int64_t n_end) noexcept {
  const std::int64_t groups = a.k / a.group_size;
  for (std::int64_t n = n_begin; n < n_end; ++n) {
    const std::uint8_t* row = static_cast<const std::uint8_t*>(a.weight) + n * packed_u4_row_bytes(a.k);
    for (std::int64_t m = 0; m < a.m; ++m) {
      float sum = 0;
      for (std::int64_t g = 0; g < groups; ++g) {
        float dot = 0;
        for (std::int64_t k = g * a.group_size; k < (g + 1) * a.group_size; ++k) {
          dot += a.x[m * a.k + k] * static_cast<float>(code_at(row, k) - a.zero_points[n * groups + g]);
        }
        sum += a.scales[n * groups + g] * dot;
      }
      a.y[m * a.n + n] = a.bias != nullptr ? sum + a.bias[n] : sum;
    }
  }
}

const char* always(const LinearArgs&) { return nullptr; }

}  // namespace

const LinearKernel kF32 = {"linear_f32_f32_f32_ref", WeightKind::kF32, 0, always, dense<float>};
const LinearKernel kBf16 = {"linear_f32_bf16_f32_ref", WeightKind::kBf16, 0, always, dense<Bf16>};
const LinearKernel kF16 = {"linear_f32_f16_f32_ref", WeightKind::kF16, 0, always, dense<F16>};
const LinearKernel kU4 = {"linear_f32_u4g_f32_ref", WeightKind::kU4, 0, always, u4};

}  // namespace awq::kernels::ref
