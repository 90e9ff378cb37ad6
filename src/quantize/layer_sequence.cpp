// LayerPipeline::run_in_sequence: one layer, site after site.

#include <algorithm>

#include "quantize/host_layer_runner.h"
#include "quantize/layer_device.h"
#include "quantize/pipeline.h"

namespace awq::quantize {
namespace {

using model::Site;

/// A stream of hidden states on its way through the layer. It is stored with attention's output in it (16 bit, as
/// between layers) as soon as all before the MLP is settled, so that no later pass repeats attention.
class Traveller {
 public:
  explicit Traveller(std::size_t stream) : stream_(stream) {}

  /// The pass that shows a site's activations and goes as far as `until`, or through. It is stored where it should go
  /// on from there.
  StreamPass pass(std::optional<Site> until) const {
    return {.stream = stream_,
            .part = {.after_attention = after_attention_, .last = until},
            .store = !until || (*until == Site::kMlpInput && !after_attention_)};
  }
  /// After that pass.
  void arrive(std::optional<Site> until) {
    after_attention_ |= until == Site::kMlpInput;
    left_ |= !until;
  }
  bool left() const { return left_; }  ///< it is past the layer

 private:
  std::size_t stream_;
  bool after_attention_ = false;
  bool left_ = false;
};

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
  std::unique_ptr<LayerRunner> runner;
  if (device_ != nullptr) {
    runner = device_->layer(index);
  } else {
    runner = std::make_unique<HostLayerRunner>(files_, index, blocks_, precision_, streams_);
  }
  std::vector<const model::SiteSpec*> sites;
  for (const model::SiteSpec& site : architecture.sites) {
    if (std::any_of(architecture.linears.begin(), architecture.linears.end(), [&](const model::LinearSpec& linear) {
          return linear.input == site.site && plan.quantized[static_cast<std::size_t>(linear.role)];
        })) {
      sites.push_back(&site);
    }
  }
  std::sort(sites.begin(), sites.end(), [](const auto* a, const auto* b) { return a->site < b->site; });
  Traveller traveller(0);
  Traveller exact(1);
  for (const model::SiteSpec* site : sites) {
    SitePass pass{.site = site->site, .quantized = traveller.pass(site->site), .exact = {}, .exact_rest = {}};
    traveller.arrive(site->site);
    if (corrects) {
      const std::optional<Site> until = exact_reach(site->site, last_layer, site == sites.back());
      pass.exact = exact.pass(until);
      exact.arrive(until);
      if (site != sites.back()) pass.exact_rest = exact.pass(std::nullopt).part;
    }
    quantizer.quantize_site(*site, runner->observe(pass, weights));
  }
  if (!last_layer) {
    if (corrects && !exact.left()) runner->advance(exact.pass(std::nullopt), nullptr);
    runner->advance(traveller.pass(std::nullopt), &weights);
  }
  return quantizer.finish();
}

}  // namespace awq::quantize
