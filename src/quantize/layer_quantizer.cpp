#include "quantize/layer_quantizer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/stop.h"
#include "quant/group_quant.h"
#include "quantize/code_descent.h"
#include "quantize/error_feedback.h"
#include "quantize/fold_scales.h"
#include "quantize/quadratic_form.h"
#include "quantize/range_search.h"
#include "quantize/reverse_cholesky.h"
#include "quantize/scale_search.h"

namespace awq::quantize {
namespace {

using model::LinearSpec;
using model::Producer;
using model::Role;
using model::SiteSpec;

std::size_t index_of(Role role) { return static_cast<std::size_t>(role); }

Role producer_role(Producer producer) { return producer == Producer::kValueRows ? Role::kV : Role::kUp; }

/// Weights of one consumer while its site is worked on.
struct Consumer {
  const LinearSpec* spec = nullptr;
  AlignedBuffer<float> weights;    ///< [N, K], corrected and scaled as the work goes on
  quant::QuantizedTensor rounded;  ///< plain rounding of the weights as they came
  quant::QuantizedTensor result;   ///< what will be stored
  double energy = 0;
  double before = 0;
  double after = 0;
};

/// Share of the groups that cannot hold one of their weights.
double clipped_share(const float* weights, const quant::QuantizedTensor& tensor) {
  const auto width = static_cast<std::int64_t>(tensor.in_features);
  const auto groups = static_cast<std::int64_t>(tensor.groups());
  const auto rows = static_cast<std::int64_t>(tensor.out_features);
  const std::int64_t size = width / groups;
  const float largest = static_cast<float>(quant::max_code(tensor.scheme.bits));
  std::int64_t clipped = 0;
#pragma omp parallel for schedule(static) reduction(+ : clipped)
  for (std::int64_t n = 0; n < rows; ++n) {
    for (std::int64_t g = 0; g < groups; ++g) {
      const auto at = static_cast<std::size_t>(n * groups + g);
      const float zero = static_cast<float>(tensor.zero_points[at]);
      const quant::Range range = quant::range_of(weights + n * width + g * size, static_cast<std::uint64_t>(size));
      const float scale = tensor.scales[at];
      if (range.low < (-zero - 0.501F) * scale || range.high > (largest - zero + 0.501F) * scale) ++clipped;
    }
  }
  return static_cast<double>(clipped) / static_cast<double>(rows * groups);
}

}  // namespace

/// The state of one layer's quantization.
class LayerQuantizer::Job {
 public:
  Job(const model::ModelConfig& config, const model::Architecture& architecture, const LayerPlan& plan,
      model::LayerWeights& weights, std::string layer_name)
      : config_(config), architecture_(architecture), plan_(plan), weights_(weights), name_(std::move(layer_name)) {}

  LayerReport finish() {
    double error = 0;
    double energy = 0;
    for (const auto& [relative, weight] : errors_) {
      error += relative * weight;
      energy += weight;
    }
    report_.mean_error = energy > 0 ? error / energy : 0;
    std::sort(report_.linears.begin(), report_.linears.end(),
              [](const LinearReport& a, const LinearReport& b) { return a.role < b.role; });
    return std::move(report_);
  }

  void quantize_site(const SiteSpec& site, std::optional<SiteStatistics>& statistics,
                     std::unique_ptr<CorrectionStatistics> correction) {
    std::vector<Consumer> consumers = load_consumers(site);
    if (consumers.empty()) return;
    stop_flag().throw_if_requested();
    if (!statistics) {
      for (Consumer& consumer : consumers) store_rounded(consumer);
      return;
    }
    for (Consumer& consumer : consumers) consumer.rounded = round(consumer);
    if (correction != nullptr) {
      const ReverseCholesky factor(statistics->gram(), statistics->width(), kCorrectionDamping);
      for (Consumer& consumer : consumers) correction->move(consumer.weights.data(), view(consumer).rows, factor);
      correction.reset();  // the search needs its memory
    }
    SiteReport report{.site = site.site};
    std::vector<float> channel_scale = choose_scales(site, *statistics, consumers, report);
    search(*statistics, consumers);
    if (!channel_scale.empty() && is_worse_than_rounding(consumers)) {
      // Scales are shared by the linears of a site: where one of them loses by it, none gets any.
      undo(*statistics, consumers, channel_scale);
      channel_scale.clear();
      report.alpha = -1;
      search(*statistics, consumers);
    }
    if (channel_scale.empty()) fall_back_to_rounding(*statistics, consumers);
    statistics.reset();
    report_.sites.push_back(report);
    if (!channel_scale.empty()) fold(site, channel_scale);
    for (Consumer& consumer : consumers) report_and_store(consumer);
  }

 private:
  std::vector<Consumer> load_consumers(const SiteSpec& site) {
    std::vector<Consumer> out;
    for (const LinearSpec& linear : architecture_.linears) {
      if (linear.input != site.site || !plan_.quantized[index_of(linear.role)]) continue;
      model::LinearWeights& stored = weights_[linear.role];
      Consumer consumer;
      consumer.spec = &linear;
      consumer.weights = stored.to_floats();
      stored.dense = {};
      model::check_finite(consumer.weights.span(), name_ + "." + linear.name + ".weight");
      const std::vector<float>& row_scale = row_scales_[index_of(linear.role)];
      if (!row_scale.empty()) {
        fold_into_rows(consumer.weights.data(), static_cast<std::int64_t>(stored.in_features), stored.bias.span(),
                       row_scale);
      }
      out.push_back(std::move(consumer));
    }
    return out;
  }

  WeightView view(const Consumer& consumer) const {
    return {consumer.weights.data(), static_cast<std::int64_t>(weights_[consumer.spec->role].out_features)};
  }

  quant::QuantizedTensor round(const Consumer& consumer) const {
    const model::LinearWeights& stored = weights_[consumer.spec->role];
    return quant::round_to_nearest(consumer.weights.data(), stored.out_features, stored.in_features,
                                   plan_.scheme_at(consumer.spec->input), plan_.scale_dtype);
  }

  /// Searches the channel scale of a site and leaves consumers and Gram matrix in scaled coordinates. Returns the scale
  /// as it will take effect, nothing for the identity.
  std::vector<float> choose_scales(const SiteSpec& site, SiteStatistics& statistics, std::vector<Consumer>& consumers,
                                   SiteReport& report) {
    const auto width = static_cast<std::size_t>(statistics.width());
    QuadraticForm form(statistics.gram(), statistics.width(), plan_.precision);
    for (Consumer& consumer : consumers) {
      const float* w = consumer.weights.data();
      consumer.energy = form.trace(view(consumer).rows, [&](std::int64_t begin, std::int64_t end, float* out) {
        std::copy(w + static_cast<std::size_t>(begin) * width, w + static_cast<std::size_t>(end) * width, out);
      });
      consumer.before = loss(consumer, consumer.rounded, form);
    }
    if (!plan_.search_scales || !can_fold(config_, architecture_, plan_, site)) return {};
    std::vector<WeightView> views;
    for (const Consumer& consumer : consumers) views.push_back(view(consumer));
    ScaleTying tying;
    if (site.producer == Producer::kValueRows) {
      tying = {.repeats = config_.num_attention_heads / config_.num_key_value_heads, .head_dim = config_.head_dim};
    }
    ScaleSearchResult found =
        search_channel_scale(views, statistics, form, plan_.scheme_at(site.site), plan_.scale_dtype, tying);
    report.alpha = found.alpha;
    if (found.alpha < 0) return {};
    if (site.producer == Producer::kNorm) {
      folded_norm_ = AlignedBuffer<float>(width);
      std::copy(norm_of(site).begin(), norm_of(site).end(), folded_norm_.begin());
      found.channel_scale = fold_into_norm(folded_norm_.span(), found.channel_scale,
                                           plan_.norm_dtype[static_cast<std::size_t>(site.site)]);
    }
    apply(statistics, consumers, found.channel_scale);
    return std::move(found.channel_scale);
  }

  void apply(SiteStatistics& statistics, std::vector<Consumer>& consumers, const std::vector<float>& channel_scale) {
    for (Consumer& consumer : consumers) scale_columns(consumer.weights.data(), view(consumer).rows, channel_scale);
    scale_gram(statistics.gram(), channel_scale);
  }

  void undo(SiteStatistics& statistics, std::vector<Consumer>& consumers, const std::vector<float>& channel_scale) {
    std::vector<float> inverse(channel_scale.size());
    for (std::size_t k = 0; k < inverse.size(); ++k) inverse[k] = 1.0F / channel_scale[k];
    apply(statistics, consumers, inverse);
  }

  AlignedBuffer<float>& norm_of(const SiteSpec& site) {
    return site.site == model::Site::kAttentionInput ? weights_.input_norm : weights_.mlp_norm;
  }

  /// Lets the producer absorb the inverse of the scales.
  void fold(const SiteSpec& site, const std::vector<float>& channel_scale) {
    if (site.producer == Producer::kNorm) {
      norm_of(site) = std::move(folded_norm_);
      return;
    }
    const Role role = producer_role(site.producer);
    model::LinearWeights& producer = weights_[role];
    std::vector<float> rows = channel_scale;
    if (site.producer == Producer::kValueRows) {
      // Query heads that share a value head have the same scales: one head in `repeats` counts.
      const auto dim = static_cast<std::size_t>(config_.head_dim);
      const auto repeats = static_cast<std::size_t>(config_.num_attention_heads / config_.num_key_value_heads);
      rows.resize(producer.out_features);
      for (std::size_t n = 0; n < rows.size(); ++n) rows[n] = channel_scale[n / dim * repeats * dim + n % dim];
    }
    if (producer.quantized) {
      fold_into_rows(*producer.quantized, producer.bias.span(), rows);
    } else {
      row_scales_[index_of(role)] = std::move(rows);
    }
  }

  /// Ranges and codes of all consumers in scaled coordinates, with the loss of the result.
  void search(const SiteStatistics& statistics, std::vector<Consumer>& consumers) {
    const std::int64_t width = statistics.width();
    std::optional<ErrorFeedback> feedback;
    if (plan_.codes != CodeSearch::kRound) {
      feedback.emplace(statistics.gram(), width,
                       ErrorFeedback::Options{.zero_dead = plan_.codes == CodeSearch::kFeedback});
    }
    for (Consumer& consumer : consumers) {
      if (plan_.search_ranges) {
        consumer.result = search_ranges(consumer.weights.data(), view(consumer).rows, width, statistics.gram(),
                                        plan_.scheme_at(consumer.spec->input), plan_.scale_dtype)
                              .tensor;
      } else {
        consumer.result = round(consumer);
      }
      if (feedback) feedback->encode(consumer.weights.data(), consumer.result);
      if (plan_.codes == CodeSearch::kDescent) {
        descend(consumer.weights.data(), statistics.gram(), DescentOptions{}, consumer.result);
      }
    }
    feedback.reset();
    QuadraticForm form(statistics.gram(), width, plan_.precision);
    for (Consumer& consumer : consumers) consumer.after = loss(consumer, consumer.result, form);
  }

  double loss(const Consumer& consumer, const quant::QuantizedTensor& tensor, QuadraticForm& form) const {
    const auto width = static_cast<std::int64_t>(tensor.in_features);
    const float* w = consumer.weights.data();
    return form.trace(view(consumer).rows, [&](std::int64_t begin, std::int64_t end, float* out) {
#pragma omp parallel for schedule(static)
      for (std::int64_t n = begin; n < end; ++n) {
        float* change = out + (n - begin) * width;
        quant::dequantize_rows(tensor, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(n) + 1, change);
        for (std::int64_t k = 0; k < width; ++k) change[k] -= w[n * width + k];
      }
    });
  }

  static bool is_worse_than_rounding(const std::vector<Consumer>& consumers) {
    return std::any_of(consumers.begin(), consumers.end(), [](const Consumer& c) { return c.after > c.before; });
  }

  /// Without scales plain rounding is always there to be taken, or to start from: no step of descent leads up.
  void fall_back_to_rounding(const SiteStatistics& statistics, std::vector<Consumer>& consumers) const {
    for (Consumer& consumer : consumers) {
      if (consumer.after <= consumer.before) continue;
      consumer.result = std::move(consumer.rounded);
      consumer.after = consumer.before;
      if (plan_.codes != CodeSearch::kDescent) continue;
      descend(consumer.weights.data(), statistics.gram(), DescentOptions{}, consumer.result);
      QuadraticForm form(statistics.gram(), statistics.width(), plan_.precision);
      consumer.after = std::min(consumer.before, loss(consumer, consumer.result, form));
    }
  }

  void report_and_store(Consumer& consumer) {
    const auto relative = [&](double error) {
      return consumer.energy > 0 ? std::max(error, 0.0) / consumer.energy : 0.0;
    };
    report_.linears.push_back({consumer.spec->role, relative(consumer.before), relative(consumer.after),
                               clipped_share(consumer.weights.data(), consumer.result)});
    errors_.emplace_back(relative(consumer.after), consumer.energy);
    store(consumer, std::move(consumer.result));
  }

  void store_rounded(Consumer& consumer) {
    report_.linears.push_back({.role = consumer.spec->role});
    store(consumer, round(consumer));
  }

  void store(Consumer& consumer, quant::QuantizedTensor tensor) {
    quant::check_scales(tensor, (name_ + "." + consumer.spec->name).c_str());
    weights_[consumer.spec->role].quantized = std::move(tensor);
    consumer.weights = {};
    consumer.rounded = {};
  }

  const model::ModelConfig& config_;
  const model::Architecture& architecture_;
  const LayerPlan plan_;
  model::LayerWeights& weights_;
  const std::string name_;
  std::array<std::vector<float>, model::kRoles> row_scales_;
  AlignedBuffer<float> folded_norm_;
  std::vector<std::pair<double, double>> errors_;
  LayerReport report_;
};

LayerQuantizer::LayerQuantizer(const model::ModelConfig& config, const model::Architecture& architecture,
                               const LayerPlan& plan, model::LayerWeights& weights, std::string layer_name)
    : job_(std::make_unique<Job>(config, architecture, plan, weights, std::move(layer_name))) {}

LayerQuantizer::~LayerQuantizer() = default;

void LayerQuantizer::quantize_site(const SiteSpec& site, std::optional<SiteStatistics>& statistics,
                                   std::unique_ptr<CorrectionStatistics> correction) {
  job_->quantize_site(site, statistics, std::move(correction));
}

LayerReport LayerQuantizer::finish() { return job_->finish(); }

bool can_fold(const model::ModelConfig& config, const model::Architecture& architecture, const LayerPlan& plan,
              const SiteSpec& site) {
  // Every reader of the producer's output has to be multiplied, and rounding the product to 16 bits would cost what
  // the scale gains: so all of them must be quantized.
  for (const LinearSpec& linear : architecture.linears) {
    if (linear.input == site.site && !plan.quantized[index_of(linear.role)]) return false;
  }
  if (site.producer == Producer::kNorm) return true;
  if (!plan.quantized[index_of(producer_role(site.producer))]) return false;
  // With grouped queries one value head feeds several query heads, whose channels would need different scales.
  return site.producer != Producer::kValueRows || plan.tie_value_heads ||
         config.num_attention_heads == config.num_key_value_heads;
}

LayerReport quantize_layer(const model::ModelConfig& config, const model::Architecture& architecture,
                           const LayerPlan& plan, LayerStatistics& statistics, model::LayerWeights& weights,
                           const std::string& layer_name) {
  LayerQuantizer quantizer(config, architecture, plan, weights, layer_name);
  // A site that is fed by rows of a linear comes before the site which that linear reads, so that the division of
  // the rows is known when their linear is quantized.
  for (const bool rows_first : {true, false}) {
    for (const SiteSpec& site : architecture.sites) {
      if ((site.producer != Producer::kNorm) != rows_first) continue;
      quantizer.quantize_site(site, statistics[static_cast<std::size_t>(site.site)]);
    }
  }
  return quantizer.finish();
}

}  // namespace awq::quantize
