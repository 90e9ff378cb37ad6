#include "quantize/scale_search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/stop.h"
#include "quant/group_quant.h"

namespace awq::quantize {
namespace {

/// Tied channels get the geometric mean of their scales.
void tie(std::vector<double>& s, const ScaleTying& tying) {
  const auto dim = static_cast<std::size_t>(tying.head_dim);
  const auto repeats = static_cast<std::size_t>(tying.repeats);
  for (std::size_t first = 0; first < s.size(); first += dim * repeats) {
    for (std::size_t d = 0; d < dim; ++d) {
      double sum = 0;
      for (std::size_t r = 0; r < repeats; ++r) sum += std::log(s[first + r * dim + d]);
      const double mean = std::exp(sum / static_cast<double>(repeats));
      for (std::size_t r = 0; r < repeats; ++r) s[first + r * dim + d] = mean;
    }
  }
}

}  // namespace

std::vector<double> relative_magnitude(std::span<const WeightView> consumers, std::int64_t width,
                                       std::int64_t group_size) {
  std::vector<double> mean(static_cast<std::size_t>(width), 0.0);
  std::int64_t rows = 0;
  for (const WeightView& view : consumers) rows += view.rows;
#pragma omp parallel for schedule(static)
  for (std::int64_t begin = 0; begin < width; begin += group_size) {
    for (const WeightView& view : consumers) {
      for (std::int64_t n = 0; n < view.rows; ++n) {
        const float* w = view.data + n * width + begin;
        float largest = 0;
        for (std::int64_t k = 0; k < group_size; ++k) largest = std::max(largest, std::fabs(w[k]));
        for (std::int64_t k = 0; k < group_size; ++k) {
          mean[static_cast<std::size_t>(begin + k)] += std::fabs(w[k]) / (largest + 1e-6F);
        }
      }
    }
  }
  for (double& value : mean) value /= static_cast<double>(rows);
  return mean;
}

ScaleCandidates::ScaleCandidates(std::vector<double> mean_abs, std::vector<double> magnitude, const ScaleTying& tying)
    : activations_(std::move(mean_abs)), weights_(std::move(magnitude)), tying_(tying) {}

ScaleCandidates::ScaleCandidates(std::span<const WeightView> consumers, std::span<const double> mean_abs,
                                 const quant::Scheme& scheme, const ScaleTying& tying)
    : activations_(mean_abs.begin(), mean_abs.end()),
      weights_(relative_magnitude(
          consumers, static_cast<std::int64_t>(mean_abs.size()),
          static_cast<std::int64_t>(quant::resolved_group_size(scheme, static_cast<std::uint64_t>(mean_abs.size()))))),
      tying_(tying) {}

std::vector<float> ScaleCandidates::make(double alpha) const {
  std::vector<double> s(activations_.size());
  for (std::size_t k = 0; k < s.size(); ++k)
    s[k] = std::max(std::pow(activations_[k], alpha) / (std::pow(weights_[k], 1.0 - alpha) + 1e-4), 1e-4);
  if (tying_.repeats > 1) tie(s, tying_);
  const auto [low, high] = std::minmax_element(s.begin(), s.end());
  const double norm = std::sqrt(*low * *high);
  std::vector<float> out(s.size());
  for (std::size_t k = 0; k < s.size(); ++k) {
    const double value = s[k] / norm;
    out[k] = std::isfinite(value) && value > 0 ? static_cast<float>(value) : 1.0F;
  }
  return out;
}

double rounding_loss(const WeightView& weights, std::span<const float> channel_scale, QuadraticForm& form,
                     const quant::Scheme& scheme, DType scale_dtype) {
  const auto width = static_cast<std::int64_t>(channel_scale.size());
  const auto group_size = static_cast<std::int64_t>(quant::resolved_group_size(scheme, channel_scale.size()));
  const float largest = static_cast<float>(quant::max_code(scheme.bits));
  return form.trace(weights.rows, [&](std::int64_t begin, std::int64_t end, float* out) {
#pragma omp parallel for schedule(static)
    for (std::int64_t n = begin; n < end; ++n) {
      const float* w = weights.data + n * width;
      float* change = out + (n - begin) * width;
      for (std::int64_t k = 0; k < width; ++k) change[k] = w[k] * channel_scale[static_cast<std::size_t>(k)];
      for (std::int64_t g = 0; g < width; g += group_size) {
        const quant::Range range = quant::range_of(change + g, static_cast<std::uint64_t>(group_size));
        const quant::GroupParams p = quant::fit_range(range.low, range.high, scheme, scale_dtype);
        const float zero = static_cast<float>(p.zero_point);
        for (std::int64_t k = g; k < g + group_size; ++k) {
          const float code = quant::code_of(change[k], p.scale, zero, largest);
          change[k] = (code - zero) * p.scale / channel_scale[static_cast<std::size_t>(k)] - w[k];
        }
      }
    }
  });
}

ScaleSearchResult best_scale(const ScaleCandidates& candidates, std::int64_t width, const ScaleLoss& loss_of) {
  ScaleSearchResult best;
  best.loss = std::numeric_limits<double>::infinity();
  for (int i = -1; i < ScaleCandidates::kGrid; ++i) {
    stop_flag().throw_if_requested();
    const double alpha = i < 0 ? -1.0 : static_cast<double>(i) / ScaleCandidates::kGrid;
    std::vector<float> s = i < 0 ? std::vector<float>(static_cast<std::size_t>(width), 1.0F) : candidates.make(alpha);
    const double loss = loss_of(s);
    if (i < 0) best.identity_loss = loss;
    if (loss < best.loss) {
      best.loss = loss;
      best.alpha = alpha;
      best.channel_scale = std::move(s);
    }
  }
  if (best.channel_scale.empty()) {
    fail(ErrorCode::kCorruptFile, "no scale gives a finite error: weights or activations are not finite");
  }
  return best;
}

ScaleSearchResult search_channel_scale(std::span<const WeightView> consumers, const SiteStatistics& statistics,
                                       QuadraticForm& form, const quant::Scheme& scheme, DType scale_dtype,
                                       const ScaleTying& tying) {
  return best_scale(ScaleCandidates(consumers, statistics.mean_abs(), scheme, tying), statistics.width(),
                    [&](std::span<const float> channel_scale) {
                      double loss = 0;
                      for (const WeightView& view : consumers)
                        loss += rounding_loss(view, channel_scale, form, scheme, scale_dtype);
                      return loss;
                    });
}

}  // namespace awq::quantize
