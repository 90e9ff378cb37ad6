// LayerPipeline::run_in_sequence: one layer, site after site.

#include <algorithm>
#include <cmath>

#include "quantize/layer_passes.h"
#include "quantize/pipeline.h"
#include "quantize/target_correction.h"

namespace awq::quantize {
namespace {

using model::Site;

/// Statistics of the quantized model's activations at `site`.
void observe(LayerPasses& passes, Site site, const model::DecoderLayer& layer, const HiddenStates& stream,
             SiteStatistics& statistics) {
  for (std::int64_t block = 0; block < passes.blocks(); block += passes.per_chunk()) {
    passes.forward(layer, stream, block, site, [&](const float* x, std::int64_t tokens) { statistics.add(x, tokens); });
  }
  statistics.finish();
}

/// The same, and what the original model's activations and residual stream have over them. With `advance_exact` the
/// original's stream is moved past the layer on the way.
void observe_both(LayerPasses& passes, std::int64_t hidden_size, Site site, const model::DecoderLayer& layer,
                  const HiddenStates& stream, const model::DecoderLayer& exact, HiddenStates& exact_stream,
                  bool advance_exact, SiteStatistics& statistics, CorrectionStatistics& correction) {
  AlignedBuffer<float> inputs;
  AlignedBuffer<float> gap;
  AlignedBuffer<float> weighted;
  const std::optional<Site> exact_last = advance_exact ? std::nullopt : std::optional<Site>(site);
  for (std::int64_t block = 0; block < passes.blocks(); block += passes.per_chunk()) {
    const std::int64_t hidden = passes.tokens_at(block) * hidden_size;
    const auto keep = [&](const float* x, std::int64_t tokens) {
      inputs.ensure(static_cast<std::size_t>(tokens * statistics.width()));
      std::copy_n(x, tokens * statistics.width(), inputs.data());
      if (!correction.has_residual()) return;
      gap.ensure(static_cast<std::size_t>(hidden));
      std::copy_n(passes.rows().data(), hidden, gap.data());
    };
    passes.forward(exact, exact_stream, block, exact_last, keep, site);
    if (advance_exact) passes.store(exact_stream, block);
    passes.forward(layer, stream, block, site, [&](const float* x, std::int64_t tokens) {
      const float* rows = passes.rows().data();
      const std::int64_t width = statistics.width();
      if (!correction.has_residual()) {
        statistics.add(x, tokens);
        correction.add(inputs.data(), x, nullptr, tokens);
        return;
      }
      // What is added to the residual stream counts relative to its size there, because whatever reads it normalises
      // it.
      weighted.ensure(static_cast<std::size_t>(tokens * width));
#pragma omp parallel for schedule(static)
      for (std::int64_t t = 0; t < tokens; ++t) {
        const float* row = rows + t * hidden_size;
        double squares = 0;
        for (std::int64_t i = 0; i < hidden_size; ++i) squares += static_cast<double>(row[i]) * row[i];
        const float weight =
            squares > 0 ? static_cast<float>(std::sqrt(static_cast<double>(hidden_size) / squares)) : 0;
        for (std::int64_t i = 0; i < hidden_size; ++i) {
          float& at = gap[static_cast<std::size_t>(t * hidden_size + i)];
          at = (at - row[i]) * weight;
        }
        for (std::int64_t i = t * width; i < (t + 1) * width; ++i) {
          weighted[static_cast<std::size_t>(i)] = x[i] * weight;
          inputs[static_cast<std::size_t>(i)] *= weight;
        }
      }
      statistics.add(weighted.data(), tokens);
      correction.add(inputs.data(), weighted.data(), gap.data(), tokens);
    });
  }
  statistics.finish();
}

}  // namespace

LayerReport LayerPipeline::run_in_sequence(std::int64_t index, const LayerPlan& plan, model::LayerWeights& weights) {
  const model::ModelConfig& config = files_.config();
  const model::Architecture& architecture = files_.architecture();
  const bool corrects = streams_.size() > 1;
  const bool last_layer = index + 1 == config.num_hidden_layers;
  std::string name = files_.layer_name(index, "");
  name.pop_back();
  LayerQuantizer quantizer(config, architecture, plan, weights, name);
  LayerPasses passes(config, index, blocks_.count, blocks_.length, precision_);
  std::optional<model::DecoderLayer> exact;
  if (corrects) exact.emplace(files_.load_layer(index));
  std::vector<const model::SiteSpec*> sites;
  for (const model::SiteSpec& site : architecture.sites) {
    if (std::any_of(architecture.linears.begin(), architecture.linears.end(), [&](const model::LinearSpec& linear) {
          return linear.input == site.site && plan.quantized[static_cast<std::size_t>(linear.role)];
        })) {
      sites.push_back(&site);
    }
  }
  std::sort(sites.begin(), sites.end(), [](const auto* a, const auto* b) { return a->site < b->site; });
  bool exact_advanced = last_layer;
  for (const model::SiteSpec* site : sites) {
    const std::int64_t width = model::site_width(config, site->site);
    std::optional<SiteStatistics> statistics(std::in_place, width, precision_);
    std::unique_ptr<CorrectionStatistics> correction;
    {
      const model::DecoderLayer layer = runnable(architecture, weights, site->site, precision_);
      if (corrects) {
        const bool writes_residual = site->site == Site::kAttentionOutput || site->site == Site::kMlpProduct;
        correction =
            std::make_unique<CorrectionStatistics>(width, writes_residual ? config.hidden_size : 0, precision_);
        const bool advance = site == sites.back() && !exact_advanced;
        observe_both(passes, config.hidden_size, site->site, layer, streams_[0], *exact, streams_[1], advance,
                     *statistics, *correction);
        exact_advanced |= advance;
      } else {
        observe(passes, site->site, layer, streams_[0], *statistics);
      }
    }
    quantizer.quantize_site(*site, statistics, std::move(correction));
  }
  if (!last_layer) {
    if (corrects && !exact_advanced) passes.advance(*exact, streams_[1]);
    passes.advance(runnable(architecture, weights, std::nullopt, precision_), streams_[0]);
  }
  return quantizer.finish();
}

}  // namespace awq::quantize
