#include "quantize/layer_quantizer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/stop.h"
#include "quant/group_quant.h"
#include "quantize/fold_scales.h"
#include "quantize/quadratic_form.h"
#include "quantize/range_search.h"
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
  const LinearSpec* spec;
  AlignedBuffer<float> weights;  ///< [N, K]
  double energy = 0;
  double before = 0;
};

/// The state of one layer's quantization.
class LayerJob {
 public:
  LayerJob(const model::ModelConfig& config, const model::Architecture& architecture, const LayerPlan& plan,
           LayerStatistics& statistics, model::LayerWeights& weights, const std::string& layer_name)
      : config_(config),
        architecture_(architecture),
        plan_(plan),
        statistics_(statistics),
        weights_(weights),
        name_(layer_name) {}

  LayerReport run() {
    // A site that is fed by rows of a linear comes before the site which that linear reads, so that the division of
    // the rows is known when their linear is quantized.
    for (const bool rows_first : {true, false}) {
      for (const SiteSpec& site : architecture_.sites) {
        if ((site.producer != Producer::kNorm) == rows_first) quantize_site(site);
      }
    }
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

 private:
  void quantize_site(const SiteSpec& site) {
    std::vector<Consumer> consumers = load_consumers(site);
    if (consumers.empty()) return;
    stop_flag().throw_if_requested();
    auto& statistics = statistics_[static_cast<std::size_t>(site.site)];
    if (!statistics) {
      for (Consumer& consumer : consumers) store_rounded(consumer);
      return;
    }
    choose_scales(site, *statistics, consumers);
    store_searched(*statistics, consumers);
    statistics.reset();
  }

  std::vector<Consumer> load_consumers(const SiteSpec& site) {
    std::vector<Consumer> out;
    for (const LinearSpec& linear : architecture_.linears) {
      if (linear.input != site.site || !plan_.quantized[index_of(linear.role)]) continue;
      model::LinearWeights& stored = weights_[linear.role];
      Consumer consumer{.spec = &linear, .weights = stored.to_floats()};
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

  /// Searches the channel scale of a site, folds its inverse into the producer, and leaves consumers and Gram matrix
  /// in scaled coordinates.
  void choose_scales(const SiteSpec& site, SiteStatistics& statistics, std::vector<Consumer>& consumers) {
    const auto width = static_cast<std::size_t>(statistics.width());
    const std::vector<float> ones(width, 1.0F);
    QuadraticForm form(statistics.gram(), statistics.width(), plan_.precision);
    for (Consumer& consumer : consumers) {
      const float* w = consumer.weights.data();
      consumer.energy = form.trace(view(consumer).rows, [&](std::int64_t begin, std::int64_t end, float* out) {
        std::copy(w + static_cast<std::size_t>(begin) * width, w + static_cast<std::size_t>(end) * width, out);
      });
      consumer.before = rounding_loss(view(consumer), ones, form, plan_.scheme, plan_.scale_dtype);
    }
    SiteReport report{.site = site.site};
    if (plan_.search_scales && can_fold(config_, architecture_, plan_, site)) {
      std::vector<WeightView> views;
      for (const Consumer& consumer : consumers) views.push_back(view(consumer));
      ScaleSearchResult found = search_channel_scale(views, statistics, form, plan_.scheme, plan_.scale_dtype);
      report.alpha = found.alpha;
      if (found.alpha >= 0) apply(site, found.channel_scale, statistics, consumers);
    }
    report_.sites.push_back(report);
  }

  void apply(const SiteSpec& site, std::vector<float> channel_scale, SiteStatistics& statistics,
             std::vector<Consumer>& consumers) {
    if (site.producer == Producer::kNorm) {
      AlignedBuffer<float>& norm = site.site == model::Site::kAttentionInput ? weights_.input_norm : weights_.mlp_norm;
      channel_scale = fold_into_norm(norm.span(), channel_scale, plan_.norm_dtype[static_cast<std::size_t>(site.site)]);
    } else {
      row_scales_[index_of(producer_role(site.producer))] = channel_scale;
    }
    for (Consumer& consumer : consumers) scale_columns(consumer.weights.data(), view(consumer).rows, channel_scale);
    scale_gram(statistics.gram(), channel_scale);
  }

  void store_searched(const SiteStatistics& statistics, std::vector<Consumer>& consumers) {
    const std::int64_t width = statistics.width();
    QuadraticForm form(statistics.gram(), width, plan_.precision);
    for (Consumer& consumer : consumers) {
      const std::int64_t rows = view(consumer).rows;
      RangeSearchResult found;
      if (plan_.search_ranges) {
        found = search_ranges(consumer.weights.data(), rows, width, statistics.gram(), plan_.scheme, plan_.scale_dtype);
      } else {
        found.tensor = quant::round_to_nearest(consumer.weights.data(), static_cast<std::uint64_t>(rows),
                                               static_cast<std::uint64_t>(width), plan_.scheme, plan_.scale_dtype);
      }
      const float* w = consumer.weights.data();
      const double after = form.trace(rows, [&](std::int64_t begin, std::int64_t end, float* out) {
#pragma omp parallel for schedule(static)
        for (std::int64_t n = begin; n < end; ++n) {
          float* change = out + (n - begin) * width;
          quant::dequantize_rows(found.tensor, static_cast<std::uint64_t>(n), static_cast<std::uint64_t>(n) + 1,
                                 change);
          for (std::int64_t k = 0; k < width; ++k) change[k] -= w[n * width + k];
        }
      });
      const auto relative = [&](double error) {
        return consumer.energy > 0 ? std::max(error, 0.0) / consumer.energy : 0.0;
      };
      report_.linears.push_back(
          {consumer.spec->role, relative(consumer.before), relative(after), found.clipped_groups});
      errors_.emplace_back(relative(after), consumer.energy);
      store(consumer, std::move(found.tensor));
    }
  }

  void store_rounded(Consumer& consumer) {
    model::LinearWeights& stored = weights_[consumer.spec->role];
    report_.linears.push_back({.role = consumer.spec->role});
    store(consumer, quant::round_to_nearest(consumer.weights.data(), stored.out_features, stored.in_features,
                                            plan_.scheme, plan_.scale_dtype));
  }

  void store(Consumer& consumer, quant::QuantizedTensor tensor) {
    quant::check_scales(tensor, (name_ + "." + consumer.spec->name).c_str());
    weights_[consumer.spec->role].quantized = std::move(tensor);
    consumer.weights = {};
  }

  const model::ModelConfig& config_;
  const model::Architecture& architecture_;
  const LayerPlan& plan_;
  LayerStatistics& statistics_;
  model::LayerWeights& weights_;
  const std::string& name_;
  std::array<std::vector<float>, model::kRoles> row_scales_;
  std::vector<std::pair<double, double>> errors_;
  LayerReport report_;
};

}  // namespace

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
  return site.producer != Producer::kValueRows || config.num_attention_heads == config.num_key_value_heads;
}

LayerReport quantize_layer(const model::ModelConfig& config, const model::Architecture& architecture,
                           const LayerPlan& plan, LayerStatistics& statistics, model::LayerWeights& weights,
                           const std::string& layer_name) {
  return LayerJob(config, architecture, plan, statistics, weights, layer_name).run();
}

}  // namespace awq::quantize
