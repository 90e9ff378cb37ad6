#include "gpu_quantize/device_site_search.h"

#include <algorithm>

#include "base/check.h"
#include "base/stop.h"
#include "kernels/api/cuda_calibrate.h"
#include "quant/group_quant.h"
#include "quantize/target_correction.h"

namespace awq::gpu_quantize {

using device::check;
using quantize::CodeSearch;
namespace search_kernels = kernels::cuda::search;

search_kernels::ScaleType scale_type(DType dtype) {
  if (dtype == DType::kF16) return search_kernels::ScaleType::kF16;
  return dtype == DType::kBf16 ? search_kernels::ScaleType::kBf16 : search_kernels::ScaleType::kF32;
}

DeviceSiteSearch::DeviceSiteSearch(Queue& queue, SiteSums&& sums) : queue_(queue), sums_(std::move(sums)) {}

DeviceSiteSearch::DeviceCodes DeviceSiteSearch::make_codes(std::int64_t rows) const {
  const std::int64_t groups = rows * (width() / group_size_);
  return {Array<std::uint8_t>(rows * width()), Array<std::uint8_t>(groups), Array<float>(groups)};
}

search_kernels::Codes DeviceSiteSearch::view(const DeviceCodes& codes, std::int64_t rows) const {
  return {.rows = rows,
          .width = width(),
          .group_size = group_size_,
          .bits = plan_.scheme.bits,
          .symmetric = plan_.scheme.symmetric,
          .scale_type = scale_type(plan_.scale_dtype),
          .codes = codes.codes.data(),
          .scales = codes.scales.data(),
          .zero_points = codes.zero_points.data()};
}

void DeviceSiteSearch::load(std::vector<quantize::SearchedLinear> linears, const quantize::SiteSearchPlan& plan) {
  AWQ_CHECK(plan.scheme.kind == quant::CodeKind::kInteger);
  plan_ = plan;
  group_size_ = static_cast<std::int64_t>(quant::resolved_group_size(plan.scheme, static_cast<std::uint64_t>(width())));
  // The kernels give a lane of a warp every 32nd column.
  AWQ_CHECK(group_size_ % 32 == 0 || group_size_ == width());
  for (quantize::SearchedLinear& linear : linears) {
    Entry& entry = entries_.emplace_back();
    entry.rows = linear.rows;
    entry.weights = uploaded(std::span<const float>(linear.weights.span()), queue_);
    entry.rounded = make_codes(entry.rows);
    check(search_kernels::round_groups(entry.weights.data(), view(entry.rounded, entry.rows), queue_.get()),
          "rounding");
    linear.weights = {};
  }
}

std::vector<float> DeviceSiteSearch::diagonal() const {
  const Array<float> there(width());
  check(search_kernels::take_diagonal(sums_.gram().data(), width(), there.data(), queue_.get()), "a diagonal");
  return downloaded(there, queue_);
}

void DeviceSiteSearch::correct() {
  if (!sums_.corrects()) return;
  const std::vector<float> own = diagonal();
  const ReverseFactor factor(queue_, sums_.gram().data(), own, quantize::kCorrectionDamping);
  const bool has_residual = !sums_.residual().empty();
  for (Entry& entry : entries_) {
    const std::int64_t chunk = rows_per_chunk(entry.rows, width(), search_kernels::kDescentRows);
    const Array<float> step(chunk * width());
    for (std::int64_t first = 0; first < entry.rows; first += chunk) {
      stop_flag().throw_if_requested();
      const std::int64_t count = std::min(chunk, entry.rows - first);
      float* weights = entry.weights.data() + first * width();
      if (has_residual) {
        device::copy(step.data(), sums_.residual().data() + first * width(),
                     static_cast<std::uint64_t>(count * width()) * sizeof(float), queue_.stream());
      }
      queue_.multiply({.m = count, .n = width(), .k = width(), .lda = width(), .ldb = width(), .ldc = width()}, weights,
                      sums_.inputs().data(), step.data(), 1, has_residual ? 1.0F : 0.0F);
      factor.solve(step.data(), count);
      check(kernels::cuda::calibrate::add(weights, step.data(), count * width(), queue_.get()), "a correction");
    }
  }
  sums_.drop_correction();
}

Trace& DeviceSiteSearch::trace() {
  if (!trace_) trace_.emplace(queue_, sums_.gram().data(), width(), plan_.precision == ops::Precision::kBf16);
  return *trace_;
}

double DeviceSiteSearch::energy(std::size_t linear) {
  const Entry& entry = entries_[linear];
  return trace().of(entry.rows, [&](std::int64_t first, std::int64_t count, const search_kernels::Change& change) {
    check(search_kernels::take_weights(entry.weights.data() + first * width(), count, width(), change, queue_.get()),
          "the energy of weights");
  });
}

double DeviceSiteSearch::loss(const Entry& entry, const DeviceCodes& codes) {
  return trace().of(entry.rows, [&](std::int64_t first, std::int64_t count, const search_kernels::Change& change) {
    check(search_kernels::take_change(entry.weights.data() + first * width(), view(codes, entry.rows), first, count,
                                      change, queue_.get()),
          "the change of weights");
  });
}

double DeviceSiteSearch::rounding_loss(std::size_t linear) { return loss(entries_[linear], entries_[linear].rounded); }

double DeviceSiteSearch::result_loss(std::size_t linear) { return loss(entries_[linear], entries_[linear].result); }

std::vector<double> DeviceSiteSearch::relative_magnitude() {
  const Array<double> sums(width());
  queue_.clear(sums.buffer());
  std::int64_t rows = 0;
  for (const Entry& entry : entries_) {
    const Array<double> partial(search_kernels::magnitude_parts(entry.rows) * width());
    check(search_kernels::add_relative_magnitudes(entry.weights.data(), entry.rows, width(), group_size_,
                                                  partial.data(), sums.data(), queue_.get()),
          "magnitudes of weights");
    rows += entry.rows;
  }
  std::vector<double> mean = downloaded(sums, queue_);
  for (double& value : mean) value /= static_cast<double>(rows);
  return mean;
}

double DeviceSiteSearch::scaled_rounding_loss(std::span<const float> channel_scale) {
  const Array<float> scale = uploaded(channel_scale, queue_);
  double sum = 0;
  for (const Entry& entry : entries_) {
    sum += trace().of(entry.rows, [&](std::int64_t first, std::int64_t count, const search_kernels::Change& change) {
      check(search_kernels::take_scaled_change(entry.weights.data() + first * width(), scale.data(), count,
                                               view({}, entry.rows), change, queue_.get()),
            "a candidate of the scale search");
    });
  }
  return sum;
}

void DeviceSiteSearch::scale(std::span<const float> channel_scale) {
  trace_.reset();
  const Array<float> scale = uploaded(channel_scale, queue_);
  for (const Entry& entry : entries_) {
    check(search_kernels::scale_columns(entry.weights.data(), entry.rows, width(), scale.data(), queue_.get()),
          "scales of weights");
  }
  check(search_kernels::scale_gram(sums_.gram().data(), width(), scale.data(), queue_.get()), "scales of inputs");
  queue_.stream().synchronize();
}

void DeviceSiteSearch::search() {
  trace_.reset();
  std::optional<Feedback> feedback;
  if (plan_.codes != CodeSearch::kRound)
    feedback.emplace(queue_, sums_.gram().data(), diagonal(), plan_.codes == CodeSearch::kFeedback);
  for (Entry& entry : entries_) {
    const float* weights = entry.weights.data();
    if (entry.result.codes.empty()) entry.result = make_codes(entry.rows);
    const search_kernels::Codes codes = view(entry.result, entry.rows);
    if (plan_.search_ranges) {
      search_ranges(queue_, weights, sums_.gram().data(), codes);
    } else {
      check(search_kernels::round_groups(weights, codes, queue_.get()), "rounding");
    }
    if (feedback) feedback->encode(weights, codes);
    if (plan_.codes == CodeSearch::kDescent) descend(queue_, weights, sums_.gram().data(), codes);
  }
}

void DeviceSiteSearch::fall_back(std::size_t linear) {
  Entry& entry = entries_[linear];
  entry.result = std::move(entry.rounded);
  if (plan_.codes != CodeSearch::kDescent) return;
  trace_.reset();
  descend(queue_, entry.weights.data(), sums_.gram().data(), view(entry.result, entry.rows));
}

double DeviceSiteSearch::clipped_share(std::size_t linear) {
  const Entry& entry = entries_[linear];
  const Array<std::int32_t> count(1);
  queue_.clear(count.buffer());
  const search_kernels::Codes codes = view(entry.result, entry.rows);
  check(search_kernels::count_clipped(entry.weights.data(), codes, count.data(), queue_.get()), "clipped groups");
  return static_cast<double>(downloaded(count, queue_).front()) / static_cast<double>(codes.all_groups());
}

quant::QuantizedTensor DeviceSiteSearch::take_result(std::size_t linear) {
  Entry& entry = entries_[linear];
  quant::QuantizedTensor out = quant::make_tensor(static_cast<std::uint64_t>(entry.rows),
                                                  static_cast<std::uint64_t>(width()), plan_.scheme, plan_.scale_dtype);
  queue_.download(out.codes.span(), entry.result.codes.data());
  queue_.download(out.scales.span(), entry.result.scales.data());
  queue_.download(out.zero_points.span(), entry.result.zero_points.data());
  entry = {};
  return out;
}

}  // namespace awq::gpu_quantize
