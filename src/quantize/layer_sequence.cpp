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
  /// After that pass; where it does not settle, nothing changes.
  void arrive(std::optional<Site> until) {
    after_attention |= until == Site::kMlpInput;
    left |= !until;
  }
};

/// The original model beside the quantized one at one site: its pass goes first, and what its activations and residual
/// stream have over the other's is added up.
class Original {
 public:
  /// Its pass goes on to `until`, or through the layer.
  Original(const model::DecoderLayer& layer, Traveller& traveller, std::optional<Site> until, std::int64_t hidden_size,
           CorrectionStatistics& correction)
      : layer_(layer), traveller_(traveller), until_(until), hidden_size_(hidden_size), correction_(correction) {}

  const model::DecoderLayer& layer() const { return layer_; }
  Traveller& traveller() { return traveller_; }
  std::optional<Site> until() const { return until_; }

  /// Activations [tokens, width] and, where the site's linears write to it, the residual stream [tokens, hidden_size].
  void keep(const float* x, const float* residual, std::int64_t tokens, std::int64_t width) {
    inputs_.ensure(static_cast<std::size_t>(tokens * width));
    std::copy_n(x, tokens * width, inputs_.data());
    if (!correction_.has_residual()) return;
    gap_.ensure(static_cast<std::size_t>(tokens * hidden_size_));
    std::copy_n(residual, tokens * hidden_size_, gap_.data());
  }

  /// The same of the quantized model, for the tokens that were kept last.
  void add(const float* x, const float* residual, std::int64_t tokens, SiteStatistics& statistics) {
    if (!correction_.has_residual()) {
      statistics.add(x, tokens);
      correction_.add(inputs_.data(), x, nullptr, tokens);
      return;
    }
    // What is added to the residual stream counts relative to its size there, because whatever reads it normalises it.
    const std::int64_t width = statistics.width();
    weighted_.ensure(static_cast<std::size_t>(tokens * width));
#pragma omp parallel for schedule(static)
    for (std::int64_t t = 0; t < tokens; ++t) {
      const float* row = residual + t * hidden_size_;
      double squares = 0;
      for (std::int64_t i = 0; i < hidden_size_; ++i) squares += static_cast<double>(row[i]) * row[i];
      const float weight = squares > 0 ? static_cast<float>(std::sqrt(static_cast<double>(hidden_size_) / squares)) : 0;
      for (std::int64_t i = 0; i < hidden_size_; ++i) {
        float& at = gap_[static_cast<std::size_t>(t * hidden_size_ + i)];
        at = (at - row[i]) * weight;
      }
      for (std::int64_t i = t * width; i < (t + 1) * width; ++i) {
        weighted_[static_cast<std::size_t>(i)] = x[i] * weight;
        inputs_[static_cast<std::size_t>(i)] *= weight;
      }
    }
    statistics.add(weighted_.data(), tokens);
    correction_.add(inputs_.data(), weighted_.data(), gap_.data(), tokens);
  }

 private:
  const model::DecoderLayer& layer_;
  Traveller& traveller_;
  std::optional<Site> until_;
  std::int64_t hidden_size_;
  CorrectionStatistics& correction_;
  AlignedBuffer<float> inputs_, gap_, weighted_;
};

/// Statistics of the quantized model's activations at `site`; `layer` runs what is before them. With `original` (or
/// null) also what that has over them.
void observe(LayerPasses& passes, Site site, const model::DecoderLayer& layer, Traveller& traveller, Original* original,
             SiteStatistics& statistics) {
  // One chunk as far as `until`; a stream that has settled there is stored.
  const auto pass = [&](const model::DecoderLayer& through, Traveller& with, std::optional<Site> until,
                        std::int64_t block, const LayerPasses::Seen& seen) {
    passes.forward(through, with.stream, block, with.part(until), site, seen);
    if (with.settles(until)) passes.store(with.stream, block);
  };
  for (std::int64_t block = 0; block < passes.blocks(); block += passes.per_chunk()) {
    if (original != nullptr) {
      pass(original->layer(), original->traveller(), original->until(), block,
           [&](const float* x, std::int64_t tokens) {
             original->keep(x, passes.rows().data(), tokens, statistics.width());
           });
    }
    pass(layer, traveller, site, block, [&](const float* x, std::int64_t tokens) {
      if (original != nullptr) {
        original->add(x, passes.rows().data(), tokens, statistics);
      } else {
        statistics.add(x, tokens);
      }
    });
  }
  traveller.arrive(site);
  if (original != nullptr) original->traveller().arrive(original->until());
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
      std::optional<Original> original;
      if (corrects) {
        const bool writes_residual = site->site == Site::kAttentionOutput || site->site == Site::kMlpProduct;
        correction =
            std::make_unique<CorrectionStatistics>(width, writes_residual ? config.hidden_size : 0, precision_);
        original.emplace(*exact, *exact_traveller, exact_reach(site->site, last_layer, site == sites.back()),
                         config.hidden_size, *correction);
      }
      observe(passes, site->site, layer, traveller, original ? &*original : nullptr, *statistics);
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
