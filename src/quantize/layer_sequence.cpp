// LayerPipeline::run_in_sequence: one layer, site after site.

#include <algorithm>
#include <cmath>

#include "quantize/layer_passes.h"
#include "quantize/pipeline.h"
#include "quantize/target_correction.h"

namespace awq::quantize {
namespace {

using model::Site;

/// A stream of hidden states on its way through the layer. It is stored with attention's output in it (16 bit, as
/// between layers) as soon as all before the MLP is settled, so that no later pass repeats attention.
struct Traveller {
  HiddenStates& stream;
  bool after_attention = false;
  bool left = false;  ///< it is past the layer

  /// The pass that shows a site's activations and goes as far as `until`, or through.
  model::LayerPart part(std::optional<Site> until) const { return {.after_attention = after_attention, .last = until}; }
  /// True when the pass that ends at `until` leaves the stream where it should go on from.
  bool settles(std::optional<Site> until) const { return !until || (*until == Site::kMlpInput && !after_attention); }
  void arrive(std::optional<Site> until) {
    after_attention |= until == Site::kMlpInput;
    left |= !until;
  }
};

/// Statistics of the quantized model's activations at `site`. `layer` runs what is before them.
void observe(LayerPasses& passes, Site site, const model::DecoderLayer& layer, Traveller& traveller,
             SiteStatistics& statistics) {
  const bool settles = traveller.settles(site);
  for (std::int64_t block = 0; block < passes.blocks(); block += passes.per_chunk()) {
    passes.forward(layer, traveller.stream, block, traveller.part(site), site,
                   [&](const float* x, std::int64_t tokens) { statistics.add(x, tokens); });
    if (settles) passes.store(traveller.stream, block);
  }
  if (settles) traveller.arrive(site);
  statistics.finish();
}

/// The same, and what the original model's activations and residual stream have over them. The original's pass goes on
/// to `exact_until`, or through the layer.
void observe_both(LayerPasses& passes, std::int64_t hidden_size, Site site, const model::DecoderLayer& layer,
                  Traveller& traveller, const model::DecoderLayer& exact, Traveller& exact_traveller,
                  std::optional<Site> exact_until, SiteStatistics& statistics, CorrectionStatistics& correction) {
  AlignedBuffer<float> inputs;
  AlignedBuffer<float> gap;
  AlignedBuffer<float> weighted;
  const bool settles = traveller.settles(site);
  const bool exact_settles = exact_traveller.settles(exact_until);
  for (std::int64_t block = 0; block < passes.blocks(); block += passes.per_chunk()) {
    const std::int64_t hidden = passes.tokens_at(block) * hidden_size;
    const auto keep = [&](const float* x, std::int64_t tokens) {
      inputs.ensure(static_cast<std::size_t>(tokens * statistics.width()));
      std::copy_n(x, tokens * statistics.width(), inputs.data());
      if (!correction.has_residual()) return;
      gap.ensure(static_cast<std::size_t>(hidden));
      std::copy_n(passes.rows().data(), hidden, gap.data());
    };
    passes.forward(exact, exact_traveller.stream, block, exact_traveller.part(exact_until), site, keep);
    if (exact_settles) passes.store(exact_traveller.stream, block);
    passes.forward(layer, traveller.stream, block, traveller.part(site), site,
                   [&](const float* x, std::int64_t tokens) {
                     const float* rows = passes.rows().data();
                     const std::int64_t width = statistics.width();
                     if (!correction.has_residual()) {
                       statistics.add(x, tokens);
                       correction.add(inputs.data(), x, nullptr, tokens);
                       return;
                     }
                     // What is added to the residual stream counts relative to its size there, because whatever reads
                     // it normalises it.
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
    if (settles) passes.store(traveller.stream, block);
  }
  if (settles) traveller.arrive(site);
  if (exact_settles) exact_traveller.arrive(exact_until);
  statistics.finish();
}

/// How far the original's pass for `site` goes: its weights are all there, so as far as will not be repeated.
std::optional<Site> exact_reach(Site site, bool last_layer, bool is_last_site) {
  if (is_last_site) return last_layer ? std::optional(site) : std::nullopt;
  return site == Site::kAttentionInput ? site : std::max(site, Site::kMlpInput);
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
  Traveller traveller{streams_[0]};
  std::optional<Traveller> exact_traveller;
  if (corrects) exact_traveller.emplace(streams_[1]);
  for (const model::SiteSpec* site : sites) {
    const std::int64_t width = model::site_width(config, site->site);
    std::optional<SiteStatistics> statistics(std::in_place, width, precision_);
    std::unique_ptr<CorrectionStatistics> correction;
    {
      const model::DecoderLayer layer = runnable(architecture, weights, traveller.part(site->site), precision_);
      if (corrects) {
        const bool writes_residual = site->site == Site::kAttentionOutput || site->site == Site::kMlpProduct;
        correction =
            std::make_unique<CorrectionStatistics>(width, writes_residual ? config.hidden_size : 0, precision_);
        observe_both(passes, config.hidden_size, site->site, layer, traveller, *exact, *exact_traveller,
                     exact_reach(site->site, last_layer, site == sites.back()), *statistics, *correction);
      } else {
        observe(passes, site->site, layer, traveller, *statistics);
      }
    }
    // The search needs the memory of what no pass will need again.
    passes.release();
    if (corrects) {
      const model::LayerPart rest = exact_traveller->part(std::nullopt);
      for (const model::LinearSpec& linear : architecture.linears) {
        if (site == sites.back() || !runs(rest, linear.input))
          exact->linears[static_cast<std::size_t>(linear.role)] = ops::Linear();
      }
    }
    quantizer.quantize_site(*site, statistics, std::move(correction));
  }
  if (!last_layer) {
    if (corrects && !exact_traveller->left) {
      passes.advance(*exact, exact_traveller->stream, exact_traveller->part(std::nullopt));
    }
    const model::LayerPart rest = traveller.part(std::nullopt);
    passes.advance(runnable(architecture, weights, rest, precision_), traveller.stream, rest);
  }
  return quantizer.finish();
}

}  // namespace awq::quantize
