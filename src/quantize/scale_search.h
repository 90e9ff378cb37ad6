#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "quant/scheme.h"
#include "quantize/activation_stats.h"
#include "quantize/quadratic_form.h"
#include "tensor/dtype.h"

namespace awq::quantize {

/// Weights of one consumer of a site, [rows, K].
struct WeightView {
  const float* data = nullptr;
  std::int64_t rows = 0;
};

struct ScaleSearchResult {
  std::vector<float> channel_scale;  ///< [K], all 1 when the identity won
  double alpha = -1;                 ///< exponent of the winner; -1: identity
  double loss = 0;                   ///< of the winner, summed over the consumers
  double identity_loss = 0;          ///< of plain rounding, summed over the consumers
};

/// AWQ's duo-scaling search (docs/algorithm.md): s = mean|x|^a / (mean relative |w|^(1-a) + 1e-4) for a = 0, 0.05 ..
/// 0.95, normalised by sqrt(max * min), and s = 1. The loss of a candidate is the exact output error of the consumers
/// after rounding, from H. The first candidate with the strictly smallest loss wins, identity first.
/// Formula: AutoAWQ's `_compute_best_scale`, with the Gram matrix in the place of module runs.
ScaleSearchResult search_channel_scale(std::span<const WeightView> consumers, const SiteStatistics& statistics,
                                       QuadraticForm& form, const quant::Scheme& scheme, DType scale_dtype);

/// Output error of rounding `weights` to the scheme after multiplying the columns by `channel_scale`.
double rounding_loss(const WeightView& weights, std::span<const float> channel_scale, QuadraticForm& form,
                     const quant::Scheme& scheme, DType scale_dtype);

}  // namespace awq::quantize
