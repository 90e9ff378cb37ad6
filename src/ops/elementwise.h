#pragma once

#include <cstdint>

#include "kernels/api/elementwise.h"

namespace awq::ops {

/// y[t] = x[t] * rsqrt(mean(x[t]^2) + eps) * weight for each of `rows` rows of `width`; y may be x. Sums in binary64:
/// the cost is small and long rows of large values stay exact.
void rms_norm(const float* x, std::int64_t rows, std::int64_t width, const float* weight, float eps, float* y);

/// x[t] += added[t], then y[t] as above: one pass over the hidden states instead of two.
void add_rms_norm(float* x, const float* added, std::int64_t rows, std::int64_t width, const float* weight, float eps,
                  float* y);

/// gate[i] = silu(gate[i]) * up[i], silu(v) = v / (1 + exp(-v)).
void silu_multiply(float* gate, const float* up, std::int64_t count);

/// x[i] += y[i]
void add_to(float* x, const float* y, std::int64_t count);

/// The kernels that the above use here.
const kernels::ElementwiseKernel& select_elementwise();

}  // namespace awq::ops
