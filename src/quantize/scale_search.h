#pragma once

#include <cstdint>
#include <functional>
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

/// Channels that must share a scale: value heads that several query heads read. `repeats` neighbouring heads of
/// `head_dim` channels are tied, channel by channel; 1: all are free.
struct ScaleTying {
  std::int64_t repeats = 1;
  std::int64_t head_dim = 1;
};

/// AWQ's family of channel scales: s = mean|x|^a / (mean relative |w|^(1-a) + 1e-4), at least 1e-4, divided by
/// sqrt(max * min).
class ScaleCandidates {
 public:
  static constexpr int kGrid = 20;  ///< exponents 0, 1/20 .. 19/20
  ScaleCandidates(std::span<const WeightView> consumers, std::span<const double> mean_abs, const quant::Scheme& scheme,
                  const ScaleTying& tying = {});
  /// From mean |x| and relative_magnitude(), both [K].
  ScaleCandidates(std::vector<double> mean_abs, std::vector<double> magnitude, const ScaleTying& tying);
  std::vector<float> make(double alpha) const;

 private:
  std::vector<double> activations_, weights_;
  ScaleTying tying_;
};

/// Mean over all rows of |w| relative to the largest |w| of its group of `group_size` channels, per channel [width].
std::vector<double> relative_magnitude(std::span<const WeightView> consumers, std::int64_t width,
                                       std::int64_t group_size);

/// The loss of plain rounding with a channel scale [K].
using ScaleLoss = std::function<double(std::span<const float> channel_scale)>;
/// The identity or the candidate with the smallest loss; the first one wins among equals. `width` is K. Throws
/// kCorruptFile when no loss is finite.
ScaleSearchResult best_scale(const ScaleCandidates& candidates, std::int64_t width, const ScaleLoss& loss);

/// AWQ's duo-scaling search (docs/algorithm.md): s = mean|x|^a / (mean relative |w|^(1-a) + 1e-4) for a = 0, 0.05 ..
/// 0.95, normalised by sqrt(max * min), and s = 1. The loss of a candidate is the exact output error of the consumers
/// after rounding, from H. The first candidate with the strictly smallest loss wins, identity first.
/// Formula: AutoAWQ's `_compute_best_scale`, with the Gram matrix in the place of module runs.
ScaleSearchResult search_channel_scale(std::span<const WeightView> consumers, const SiteStatistics& statistics,
                                       QuadraticForm& form, const quant::Scheme& scheme, DType scale_dtype,
                                       const ScaleTying& tying = {});

/// Output error of rounding `weights` to the scheme after multiplying the columns by `channel_scale`.
double rounding_loss(const WeightView& weights, std::span<const float> channel_scale, QuadraticForm& form,
                     const quant::Scheme& scheme, DType scale_dtype);

}  // namespace awq::quantize
