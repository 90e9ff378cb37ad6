#include "quantize/host_site_search.h"

#include <algorithm>

#include "quant/group_quant.h"
#include "quantize/code_descent.h"
#include "quantize/error_feedback.h"
#include "quantize/fold_scales.h"
#include "quantize/range_search.h"
#include "quantize/reverse_cholesky.h"

namespace awq::quantize {

HostSiteSearch::HostSiteSearch(SiteStatistics&& statistics, std::unique_ptr<CorrectionStatistics> correction)
    : statistics_(std::move(statistics)), correction_(std::move(correction)) {}

void HostSiteSearch::load(std::vector<SearchedLinear> linears, const SiteSearchPlan& plan) {
  plan_ = plan;
  for (SearchedLinear& linear : linears) {
    Entry& entry = entries_.emplace_back();
    entry.weights = std::move(linear.weights);
    entry.rows = linear.rows;
    entry.rounded = round(entry);
  }
}

quant::QuantizedTensor HostSiteSearch::round(const Entry& entry) const {
  return quant::round_to_nearest(entry.weights.data(), static_cast<std::uint64_t>(entry.rows),
                                 static_cast<std::uint64_t>(width()), plan_.scheme, plan_.scale_dtype);
}

void HostSiteSearch::correct() {
  if (correction_ == nullptr) return;
  const ReverseCholesky factor(statistics_.gram(), width(), kCorrectionDamping);
  for (Entry& entry : entries_) correction_->move(entry.weights.data(), entry.rows, factor);
  correction_.reset();
}

QuadraticForm& HostSiteSearch::form() {
  if (!form_) form_.emplace(statistics_.gram(), width(), plan_.precision);
  return *form_;
}

double HostSiteSearch::energy(std::size_t linear) {
  const Entry& entry = entries_[linear];
  const float* w = entry.weights.data();
  return form().trace(entry.rows, [&](std::int64_t begin, std::int64_t end, float* out) {
    std::copy(w + begin * width(), w + end * width(), out);
  });
}

double HostSiteSearch::loss(const Entry& entry, const quant::QuantizedTensor& tensor) {
  const std::int64_t columns = width();
  const float* w = entry.weights.data();
  return form().trace(entry.rows, [&](std::int64_t begin, std::int64_t end, float* out) {
#pragma omp parallel for schedule(static)
    for (std::int64_t n = begin; n < end; ++n) {
      float* change = out + (n - begin) * columns;
      quant::dequantize_rows(tensor, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(n) + 1, change);
      for (std::int64_t k = 0; k < columns; ++k) change[k] -= w[n * columns + k];
    }
  });
}

double HostSiteSearch::rounding_loss(std::size_t linear) { return loss(entries_[linear], entries_[linear].rounded); }

double HostSiteSearch::result_loss(std::size_t linear) { return loss(entries_[linear], entries_[linear].result); }

std::vector<double> HostSiteSearch::relative_magnitude() {
  std::vector<WeightView> views;
  for (const Entry& entry : entries_) views.push_back(entry.view());
  return quantize::relative_magnitude(
      views, width(),
      static_cast<std::int64_t>(quant::resolved_group_size(plan_.scheme, static_cast<std::uint64_t>(width()))));
}

double HostSiteSearch::scaled_rounding_loss(std::span<const float> channel_scale) {
  double sum = 0;
  for (const Entry& entry : entries_)
    sum += quantize::rounding_loss(entry.view(), channel_scale, form(), plan_.scheme, plan_.scale_dtype);
  return sum;
}

void HostSiteSearch::scale(std::span<const float> channel_scale) {
  form_.reset();
  for (Entry& entry : entries_) scale_columns(entry.weights.data(), entry.rows, channel_scale);
  scale_gram(statistics_.gram(), channel_scale);
}

void HostSiteSearch::search() {
  form_.reset();
  std::optional<ErrorFeedback> feedback;
  if (plan_.codes != CodeSearch::kRound) {
    feedback.emplace(statistics_.gram(), width(),
                     ErrorFeedback::Options{.zero_dead = plan_.codes == CodeSearch::kFeedback});
  }
  for (Entry& entry : entries_) {
    if (plan_.search_ranges) {
      entry.result =
          search_ranges(entry.weights.data(), entry.rows, width(), statistics_.gram(), plan_.scheme, plan_.scale_dtype)
              .tensor;
    } else {
      entry.result = round(entry);
    }
    if (feedback) feedback->encode(entry.weights.data(), entry.result);
    if (plan_.codes == CodeSearch::kDescent)
      descend(entry.weights.data(), statistics_.gram(), DescentOptions{}, entry.result);
  }
}

void HostSiteSearch::fall_back(std::size_t linear) {
  Entry& entry = entries_[linear];
  entry.result = std::move(entry.rounded);
  if (plan_.codes != CodeSearch::kDescent) return;
  form_.reset();
  descend(entry.weights.data(), statistics_.gram(), DescentOptions{}, entry.result);
}

double HostSiteSearch::clipped_share(std::size_t linear) {
  const Entry& entry = entries_[linear];
  const quant::QuantizedTensor& tensor = entry.result;
  const auto groups = static_cast<std::int64_t>(tensor.groups());
  const std::int64_t size = width() / groups;
  const float largest = static_cast<float>(quant::max_code(tensor.scheme.bits));
  const float* weights = entry.weights.data();
  std::int64_t clipped = 0;
#pragma omp parallel for schedule(static) reduction(+ : clipped)
  for (std::int64_t n = 0; n < entry.rows; ++n) {
    for (std::int64_t g = 0; g < groups; ++g) {
      const auto at = static_cast<std::size_t>(n * groups + g);
      const float zero = static_cast<float>(tensor.zero_points[at]);
      const quant::Range range = quant::range_of(weights + (n * groups + g) * size, static_cast<std::uint64_t>(size));
      const float scale = tensor.scales[at];
      if (range.low < (-zero - 0.501F) * scale || range.high > (largest - zero + 0.501F) * scale) ++clipped;
    }
  }
  return static_cast<double>(clipped) / static_cast<double>(entry.rows * groups);
}

quant::QuantizedTensor HostSiteSearch::take_result(std::size_t linear) {
  Entry& entry = entries_[linear];
  entry.weights = {};
  entry.rounded = {};
  return std::move(entry.result);
}

}  // namespace awq::quantize
