// The body of the elementwise kernels over sixteen binary32 lanes: see attention_body.h. V also has divide(a, b),
// negative_magnitude(x) = -|x|, where_negative(x, a, b) (a where x < 0, else b), and add_squares(x, lanes): lanes[l] =
// fma(x[l], x[l], lanes[l]) in binary64.
#pragma once

#include <cstdint>

#include "kernels/api/elementwise.h"
#include "kernels/cpu/exp_lanes.h"

namespace awq::kernels {
namespace {

template <typename V>
struct ElementwiseBody {
  static void finish_norm(double* lanes, const float* x, std::int64_t width, const float* weight, float eps, float* y) {
    for (int distance = 8; distance > 0; distance /= 2) {
      for (int l = 0; l < distance; ++l) lanes[l] += lanes[l + distance];
    }
    const auto factor =
        static_cast<float>(1.0 / __builtin_sqrt(lanes[0] / static_cast<double>(width) + static_cast<double>(eps)));
    std::int64_t i = 0;
    for (; i + 16 <= width; i += 16) {
      V::mul(V::mul(V::load(x + i), V::set(factor)), V::load(weight + i)).store(y + i);
    }
    for (; i < width; ++i) y[i] = x[i] * factor * weight[i];
  }

  static void rms_norm(const float* x, std::int64_t width, const float* weight, float eps, float* y) noexcept {
    typename V::Squares squares;
    std::int64_t i = 0;
    for (; i + 16 <= width; i += 16) squares.add(V::load(x + i));
    double lanes[16];
    squares.store(lanes);
    for (std::int64_t l = 0; i < width; ++i, ++l) {
      lanes[l] = __builtin_fma(static_cast<double>(x[i]), static_cast<double>(x[i]), lanes[l]);
    }
    finish_norm(lanes, x, width, weight, eps, y);
  }

  static void add_rms_norm(float* x, const float* added, std::int64_t width, const float* weight, float eps,
                           float* y) noexcept {
    typename V::Squares squares;
    std::int64_t i = 0;
    for (; i + 16 <= width; i += 16) {
      const V sum = V::add(V::load(x + i), V::load(added + i));
      sum.store(x + i);
      squares.add(sum);
    }
    double lanes[16];
    squares.store(lanes);
    for (std::int64_t l = 0; i < width; ++i, ++l) {
      x[i] += added[i];
      lanes[l] = __builtin_fma(static_cast<double>(x[i]), static_cast<double>(x[i]), lanes[l]);
    }
    finish_norm(lanes, x, width, weight, eps, y);
  }

  static void add(float* x, const float* y, std::int64_t count) noexcept {
    std::int64_t i = 0;
    for (; i + 16 <= count; i += 16) V::add(V::load(x + i), V::load(y + i)).store(x + i);
    for (; i < count; ++i) x[i] += y[i];
  }

  static V silu(V gate, V up) {
    const V e = exp_nonpositive_lanes(V::negative_magnitude(gate));
    const V one = V::set(1.0F);
    const V sigmoid = V::divide(V::where_negative(gate, e, one), V::add(one, e));
    return V::mul(V::mul(gate, sigmoid), up);
  }
  static void silu_multiply(float* gate, const float* up, std::int64_t count) noexcept {
    std::int64_t i = 0;
    for (; i + 16 <= count; i += 16) silu(V::load(gate + i), V::load(up + i)).store(gate + i);
    if (i == count) return;
    float g[16] = {}, u[16] = {};
    for (std::int64_t l = 0; i + l < count; ++l) {
      g[l] = gate[i + l];
      u[l] = up[i + l];
    }
    silu(V::load(g), V::load(u)).store(g);
    for (std::int64_t l = 0; i + l < count; ++l) gate[i + l] = g[l];
  }

  static void rotate(float* v, const float* cosine, const float* sine, std::int64_t half) noexcept {
    std::int64_t j = 0;
    for (; j + 16 <= half; j += 16) {
      const V a = V::load(v + j), b = V::load(v + j + half), c = V::load(cosine + j), s = V::load(sine + j);
      V::sub(V::mul(a, c), V::mul(b, s)).store(v + j);
      V::add(V::mul(b, c), V::mul(a, s)).store(v + j + half);
    }
    for (; j < half; ++j) {
      const float a = v[j];
      const float b = v[j + half];
      v[j] = a * cosine[j] - b * sine[j];
      v[j + half] = b * cosine[j] + a * sine[j];
    }
  }

  static V exp_below(V x, float largest, float factor) {
    return exp_nonpositive_lanes(V::mul(V::sub(x, V::set(largest)), V::set(factor)));
  }
  static void exp_below(const float* x, std::int64_t count, float largest, float factor, float* y) noexcept {
    std::int64_t i = 0;
    for (; i + 16 <= count; i += 16) exp_below(V::load(x + i), largest, factor).store(y + i);
    if (i == count) return;
    float rest[16] = {};
    for (std::int64_t l = 0; i + l < count; ++l) rest[l] = x[i + l];
    exp_below(V::load(rest), largest, factor).store(rest);
    for (std::int64_t l = 0; i + l < count; ++l) y[i + l] = rest[l];
  }
};

template <typename V>
constexpr ElementwiseKernel elementwise_kernel(const char* name, std::uint8_t min_isa) {
  using Body = ElementwiseBody<V>;
  return {name,         min_isa,        Body::rms_norm, Body::add_rms_norm, Body::add, Body::silu_multiply,
          Body::rotate, Body::exp_below};
}

}  // namespace
}  // namespace awq::kernels
