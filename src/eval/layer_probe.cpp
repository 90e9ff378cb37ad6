#include "eval/layer_probe.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/copy_of.h"
#include "base/stop.h"
#include "model/decoder.h"

namespace awq::eval {
namespace {

/// Hidden states [tokens, width] of all windows at one layer boundary.
using Hidden = AlignedBuffer<float>;

double squared_distance(const Hidden& a, const Hidden& b) {
  double sum = 0;
  const auto count = static_cast<std::int64_t>(a.size());
#pragma omp parallel for schedule(static) reduction(+ : sum)
  for (std::int64_t i = 0; i < count; ++i) {
    const double d = static_cast<double>(a[static_cast<std::size_t>(i)]) - b[static_cast<std::size_t>(i)];
    sum += d * d;
  }
  return sum;
}

double squared_norm(const Hidden& a) {
  double sum = 0;
  for (const float x : a) sum += static_cast<double>(x) * x;
  return sum;
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

/// Sums of |x| per channel at the sites of one layer.
class MagnitudeSums {
 public:
  model::SiteObserver observer() {
    return [this](model::Site site, const float* x, std::int64_t tokens) {
      auto& sums = sums_[static_cast<std::size_t>(site)];
      const auto width = static_cast<std::size_t>(widths_(site));
      sums.resize(width);
      for (std::int64_t t = 0; t < tokens; ++t) {
        for (std::size_t c = 0; c < width; ++c) sums[c] += std::fabs(x[static_cast<std::size_t>(t) * width + c]);
      }
    };
  }
  explicit MagnitudeSums(const model::ModelConfig& config)
      : widths_([&config](model::Site site) { return model::site_width(config, site); }) {}

  SiteMagnitudes means(std::int64_t tokens) const {
    SiteMagnitudes out;
    for (std::size_t site = 0; site < model::kSites; ++site) {
      for (const double sum : sums_[site]) out[site].push_back(static_cast<float>(sum / static_cast<double>(tokens)));
    }
    return out;
  }

 private:
  std::function<std::int64_t(model::Site)> widths_;
  std::array<std::vector<double>, model::kSites> sums_;
};

/// One model's forward pass over all windows at once.
class Runner {
 public:
  Runner(const model::ModelConfig& config, const Windows& windows, ops::Precision precision)
      : config_(config), precision_(precision) {
    for (const auto& window : windows) slices_.push_back({.token_count = static_cast<std::int64_t>(window.size())});
  }
  void run(const model::DecoderLayer& layer, std::int64_t index, Hidden& hidden,
           const model::SiteObserver& observer = nullptr) const {
    stop_flag().throw_if_requested();
    model::Decoder(config_).forward_layer(layer, index, slices_, hidden.data(), precision_, observer);
  }

 private:
  const model::ModelConfig& config_;
  ops::Precision precision_;
  std::vector<model::SequenceSlice> slices_;
};

void swap_attention(model::LayerWeights& a, model::LayerWeights& b) {
  for (const model::Role role : {model::Role::kQ, model::Role::kK, model::Role::kV, model::Role::kO}) {
    std::swap(a[role], b[role]);
  }
  std::swap(a.input_norm, b.input_norm);
  std::swap(a.q_norm, b.q_norm);
  std::swap(a.k_norm, b.k_norm);
}

}  // namespace

LayerProbe probe_layers(std::span<const model::WeightSource* const> models, const model::WeightSource& base,
                        const Windows& windows, const model::WeightSource* profiled, ops::Precision precision) {
  const model::ModelConfig& config = base.config();
  std::vector<std::int32_t> ids;
  for (const auto& window : windows) ids.insert(ids.end(), window.begin(), window.end());
  AWQ_CHECK(!ids.empty());
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const auto count = ids.size() * static_cast<std::size_t>(config.hidden_size);
  Hidden hidden(count);
  base.embed(ids, hidden.data());
  std::vector<Hidden> own(models.size());
  for (std::size_t m = 0; m < models.size(); ++m) {
    AWQ_CHECK(models[m]->config().hidden_size == config.hidden_size &&
              models[m]->config().num_hidden_layers == config.num_hidden_layers);
    own[m] = Hidden(count);
    models[m]->embed(ids, own[m].data());
  }
  LayerProbe probe;
  probe.errors.resize(models.size());
  const Runner runner(config, windows, precision);
  for (std::int64_t index = 0; index < config.num_hidden_layers; ++index) {
    Hidden next = copy_of(hidden);
    MagnitudeSums sums(config);
    runner.run(model::DecoderLayer(base.load_layer(index)), index, next, sums.observer());
    probe.base.push_back(sums.means(tokens));
    const double added = squared_distance(next, hidden);
    const double energy = squared_norm(next);
    for (std::size_t m = 0; m < models.size(); ++m) {
      LayerError error;
      runner.run(model::DecoderLayer(models[m]->load_layer(index)), index, own[m]);
      error.accumulated = ratio(squared_distance(own[m], next), energy);
      model::LayerWeights with_attention = base.load_layer(index);
      model::LayerWeights with_mlp = models[m]->load_layer(index);
      swap_attention(with_attention, with_mlp);
      Hidden out = copy_of(hidden);
      runner.run(model::DecoderLayer(std::move(with_attention)), index, out);
      error.attention = ratio(squared_distance(out, next), added);
      std::copy(hidden.begin(), hidden.end(), out.begin());
      runner.run(model::DecoderLayer(std::move(with_mlp)), index, out);
      error.mlp = ratio(squared_distance(out, next), added);
      probe.errors[m].push_back(error);
    }
    if (profiled != nullptr) {
      MagnitudeSums scaled(config);
      Hidden out = copy_of(hidden);
      runner.run(model::DecoderLayer(profiled->load_layer(index)), index, out, scaled.observer());
      probe.profiled.push_back(scaled.means(tokens));
    }
    hidden = std::move(next);
  }
  return probe;
}

}  // namespace awq::eval
