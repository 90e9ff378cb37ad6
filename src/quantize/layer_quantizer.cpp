#include "quantize/layer_quantizer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/stop.h"
#include "quant/group_quant.h"
#include "quantize/fold_scales.h"
#include "quantize/host_site_search.h"
#include "quantize/scale_search.h"

namespace awq::quantize {
namespace {

using model::LinearSpec;
using model::Producer;
using model::Role;
using model::SiteSpec;

std::size_t index_of(Role role) { return static_cast<std::size_t>(role); }

Role producer_role(Producer producer) { return producer == Producer::kValueRows ? Role::kV : Role::kUp; }

/// One consumer of a site while that is worked on; its weights are with the search.
struct Consumer {
  const LinearSpec* spec = nullptr;
  double energy = 0;
  double before = 0;
  double after = 0;
};

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

  void quantize_site(const SiteSpec& site, std::unique_ptr<SiteSearch> search) {
    std::vector<Consumer> consumers;
    for (const LinearSpec& linear : architecture_.linears) {
      if (linear.input == site.site && plan_.quantized[index_of(linear.role)]) consumers.push_back({.spec = &linear});
    }
    if (consumers.empty()) return;
    stop_flag().throw_if_requested();
    std::vector<SearchedLinear> linears;
    for (const Consumer& consumer : consumers) linears.push_back(load(*consumer.spec));
    if (search == nullptr) {
      for (std::size_t i = 0; i < consumers.size(); ++i) store_rounded(*consumers[i].spec, linears[i]);
      return;
    }
    search->load(std::move(linears), {.scheme = plan_.scheme_at(site.site),
                                      .scale_dtype = plan_.scale_dtype,
                                      .search_ranges = plan_.search_ranges,
                                      .codes = plan_.codes,
                                      .precision = plan_.precision});
    search->correct();
    SiteReport report{.site = site.site};
    std::vector<float> channel_scale = choose_scales(site, *search, consumers, report);
    find_results(*search, consumers);
    if (!channel_scale.empty() && is_worse_than_rounding(consumers)) {
      // Scales are shared by the linears of a site: where one of them loses by it, none gets any.
      undo(*search, channel_scale);
      channel_scale.clear();
      report.alpha = -1;
      find_results(*search, consumers);
    }
    if (channel_scale.empty()) fall_back_to_rounding(*search, consumers);
    report_.sites.push_back(report);
    if (!channel_scale.empty()) fold(site, channel_scale);
    for (std::size_t i = 0; i < consumers.size(); ++i) report_and_store(*search, i, consumers[i]);
  }

 private:
  /// The weights of a linear as floats, divided where a scale of the site behind it was folded into its rows; what was
  /// stored of them is gone.
  SearchedLinear load(const LinearSpec& linear) {
    model::LinearWeights& stored = weights_[linear.role];
    SearchedLinear out{stored.to_floats(), static_cast<std::int64_t>(stored.out_features)};
    stored.dense = {};
    model::check_finite(out.weights.span(), name_ + "." + linear.name + ".weight");
    const std::vector<float>& row_scale = row_scales_[index_of(linear.role)];
    if (!row_scale.empty()) {
      fold_into_rows(out.weights.data(), static_cast<std::int64_t>(stored.in_features), stored.bias.span(), row_scale);
    }
    return out;
  }

  /// Searches the channel scale of a site and leaves consumers and Gram matrix in scaled coordinates. Returns the scale
  /// as it will take effect, nothing for the identity.
  std::vector<float> choose_scales(const SiteSpec& site, SiteSearch& search, std::vector<Consumer>& consumers,
                                   SiteReport& report) {
    const auto width = static_cast<std::size_t>(search.width());
    for (std::size_t i = 0; i < consumers.size(); ++i) {
      consumers[i].energy = search.energy(i);
      consumers[i].before = search.rounding_loss(i);
    }
    if (!plan_.search_scales || !can_fold(config_, architecture_, plan_, site)) return {};
    ScaleTying tying;
    if (site.producer == Producer::kValueRows) {
      tying = {.repeats = config_.num_attention_heads / config_.num_key_value_heads, .head_dim = config_.head_dim};
    }
    const ScaleCandidates candidates(search.mean_abs(), search.relative_magnitude(), tying);
    ScaleSearchResult found = best_scale(candidates, search.width(), [&](std::span<const float> channel_scale) {
      return search.scaled_rounding_loss(channel_scale);
    });
    report.alpha = found.alpha;
    if (found.alpha < 0) return {};
    if (site.producer == Producer::kNorm) {
      folded_norm_ = AlignedBuffer<float>(width);
      std::copy(norm_of(site).begin(), norm_of(site).end(), folded_norm_.begin());
      found.channel_scale = fold_into_norm(folded_norm_.span(), found.channel_scale,
                                           plan_.norm_dtype[static_cast<std::size_t>(site.site)]);
    }
    search.scale(found.channel_scale);
    return std::move(found.channel_scale);
  }

  static void undo(SiteSearch& search, const std::vector<float>& channel_scale) {
    std::vector<float> inverse(channel_scale.size());
    for (std::size_t k = 0; k < inverse.size(); ++k) inverse[k] = 1.0F / channel_scale[k];
    search.scale(inverse);
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
  static void find_results(SiteSearch& search, std::vector<Consumer>& consumers) {
    search.search();
    for (std::size_t i = 0; i < consumers.size(); ++i) consumers[i].after = search.result_loss(i);
  }

  static bool is_worse_than_rounding(const std::vector<Consumer>& consumers) {
    return std::any_of(consumers.begin(), consumers.end(), [](const Consumer& c) { return c.after > c.before; });
  }

  /// Without scales plain rounding is always there to be taken, or to start from: no step of descent leads up.
  void fall_back_to_rounding(SiteSearch& search, std::vector<Consumer>& consumers) const {
    for (std::size_t i = 0; i < consumers.size(); ++i) {
      Consumer& consumer = consumers[i];
      if (consumer.after <= consumer.before) continue;
      search.fall_back(i);
      consumer.after = consumer.before;
      if (plan_.codes == CodeSearch::kDescent) consumer.after = std::min(consumer.before, search.result_loss(i));
    }
  }

  void report_and_store(SiteSearch& search, std::size_t index, const Consumer& consumer) {
    const auto relative = [&](double error) {
      return consumer.energy > 0 ? std::max(error, 0.0) / consumer.energy : 0.0;
    };
    report_.linears.push_back(
        {consumer.spec->role, relative(consumer.before), relative(consumer.after), search.clipped_share(index)});
    errors_.emplace_back(relative(consumer.after), consumer.energy);
    store(*consumer.spec, search.take_result(index));
  }

  void store_rounded(const LinearSpec& linear, const SearchedLinear& from) {
    const model::LinearWeights& stored = weights_[linear.role];
    report_.linears.push_back({.role = linear.role});
    store(linear, quant::round_to_nearest(from.weights.data(), stored.out_features, stored.in_features,
                                          plan_.scheme_at(linear.input), plan_.scale_dtype));
  }

  void store(const LinearSpec& linear, quant::QuantizedTensor tensor) {
    quant::check_scales(tensor, (name_ + "." + linear.name).c_str());
    weights_[linear.role].quantized = std::move(tensor);
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

void LayerQuantizer::quantize_site(const SiteSpec& site, std::unique_ptr<SiteSearch> search) {
  job_->quantize_site(site, std::move(search));
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
  LayerSites sites;
  for (std::size_t i = 0; i < model::kSites; ++i) {
    if (statistics[i]) sites[i] = std::make_unique<HostSiteSearch>(std::move(*statistics[i]));
    statistics[i].reset();
  }
  return quantize_layer(config, architecture, plan, std::move(sites), weights, layer_name);
}

LayerReport quantize_layer(const model::ModelConfig& config, const model::Architecture& architecture,
                           const LayerPlan& plan, LayerSites sites, model::LayerWeights& weights,
                           const std::string& layer_name) {
  LayerQuantizer quantizer(config, architecture, plan, weights, layer_name);
  // A site that is fed by rows of a linear comes before the site which that linear reads, so that the division of
  // the rows is known when their linear is quantized.
  for (const bool rows_first : {true, false}) {
    for (const SiteSpec& site : architecture.sites) {
      if ((site.producer != Producer::kNorm) != rows_first) continue;
      quantizer.quantize_site(site, std::move(sites[static_cast<std::size_t>(site.site)]));
    }
  }
  return quantizer.finish();
}

}  // namespace awq::quantize
