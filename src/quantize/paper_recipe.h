#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "quant/quantized_tensor.h"
#include "quantize/scale_search.h"

namespace awq::quantize {

/// The arithmetic of the published AutoAWQ, defects included: the yardstick that other recipes are measured with. Known
/// defects that are kept: the identity is no candidate; ranges are not extended to zero, so groups of one sign lose a
/// bit or more; clipping is symmetric although ranges are not; q and k are never clipped.
/// Source: AutoAWQ 0.2.9, `pseudo_quantize_tensor`, `_compute_best_scale`, `_compute_best_clip`.

/// Rounds W [rows, K] * channel_scale (empty: 1) to the scheme. Scales are rounded to `scale_dtype` before codes are
/// made.
quant::QuantizedTensor paper_round(const float* weights, std::int64_t rows, std::int64_t width,
                                   std::span<const float> channel_scale, const quant::Scheme& scheme,
                                   DType scale_dtype);

/// Loss of one candidate: the module's mean squared output error when its linears are the rounded candidate.
using ModuleLoss = std::function<double(std::span<const float> channel_scale)>;
/// Tries exponents 0, 0.05 .. 0.95; the first with the strictly smallest loss wins. `mean_abs` [K] is mean |x|.
ScaleSearchResult paper_scale_search(std::span<const WeightView> consumers, std::span<const double> mean_abs,
                                     const quant::Scheme& scheme, const ModuleLoss& loss);

/// Clamps W [rows, K] to +-m per group, m = the group's largest magnitude times 1, 0.95 .. 0.55, by the mean squared
/// error of the group's part of the outputs on `inputs` [tokens, K]. Returns the share of groups that were cut.
double paper_clip(float* weights, std::int64_t rows, std::int64_t width, std::span<const float> inputs,
                  const quant::Scheme& scheme, DType scale_dtype);

/// Every how many tokens the clip search looks at one: 512 to 1023 of them in all.
constexpr std::int64_t paper_clip_step(std::int64_t tokens) { return tokens < 1024 ? 1 : tokens / 512; }

}  // namespace awq::quantize
