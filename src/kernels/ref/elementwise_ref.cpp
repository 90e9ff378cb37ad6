#include "kernels/ref/elementwise_ref.h"

#include <cmath>

#include "kernels/api/attention.h"

namespace awq::kernels::ref {
namespace {

void rms_norm(const float* x, std::int64_t width, const float* weight, float eps, float* y) noexcept {
  double lanes[16] = {};
  for (std::int64_t i = 0; i < width; ++i) lanes[i % 16] = std::fma(static_cast<double>(x[i]), x[i], lanes[i % 16]);
  for (int distance = 8; distance > 0; distance /= 2) {
    for (int l = 0; l < distance; ++l) lanes[l] += lanes[l + distance];
  }
  const auto factor = static_cast<float>(1.0 / std::sqrt(lanes[0] / static_cast<double>(width) + eps));
  for (std::int64_t i = 0; i < width; ++i) y[i] = x[i] * factor * weight[i];
}

void add(float* x, const float* y, std::int64_t count) noexcept {
  for (std::int64_t i = 0; i < count; ++i) x[i] += y[i];
}

void add_rms_norm(float* x, const float* added, std::int64_t width, const float* weight, float eps, float* y) noexcept {
  add(x, added, width);
  rms_norm(x, width, weight, eps, y);
}

void silu_multiply(float* gate, const float* up, std::int64_t count) noexcept {
  for (std::int64_t i = 0; i < count; ++i) {
    const float e = exp_nonpositive(-std::fabs(gate[i]));
    const float sigmoid = (gate[i] >= 0 ? 1.0F : e) / (1.0F + e);
    gate[i] = gate[i] * sigmoid * up[i];
  }
}

void rotate(float* v, const float* cosine, const float* sine, std::int64_t half) noexcept {
  for (std::int64_t j = 0; j < half; ++j) {
    const float a = v[j];
    const float b = v[j + half];
    v[j] = a * cosine[j] - b * sine[j];
    v[j + half] = b * cosine[j] + a * sine[j];
  }
}

void exp_below(const float* x, std::int64_t count, float largest, float factor, float* y) noexcept {
  for (std::int64_t i = 0; i < count; ++i) y[i] = exp_nonpositive((x[i] - largest) * factor);
}

}  // namespace

const ElementwiseKernel kElementwise = {"elementwise_ref", 0,      rms_norm, add_rms_norm, add,
                                        silu_multiply,     rotate, exp_below};

}  // namespace awq::kernels::ref
