#pragma once

#include <cstddef>
#include <memory>
#include <optional>

#include "model/decoder.h"
#include "model/model_files.h"
#include "quantize/site_search.h"

namespace awq::quantize {

/// The way of one stream of hidden states in a pass over all calibration tokens.
struct StreamPass {
  std::size_t stream = 0;
  model::LayerPart part;  ///< of the layer
  bool store = false;     ///< the stream is at the part's end afterwards, and where it was otherwise
};

/// The passes that show the activations of a site.
struct SitePass {
  model::Site site = model::Site::kAttentionInput;
  StreamPass quantized;
  /// Of the original model; with it the statistics say what its activations have over the quantized model's.
  std::optional<StreamPass> exact;
  /// What the original stream will still run after this; nothing when it is where it will stay. Linears outside of it
  /// may be forgotten.
  std::optional<model::LayerPart> exact_rest;
};

/// Runs the calibration tokens through one layer that is being quantized, site after site.
class LayerRunner {
 public:
  LayerRunner() = default;
  LayerRunner(const LayerRunner&) = delete;
  LayerRunner& operator=(const LayerRunner&) = delete;
  virtual ~LayerRunner() = default;

  /// What the quantized model's activations at the site are; `weights` is the layer so far.
  virtual std::unique_ptr<SiteSearch> observe(const SitePass& pass, const model::LayerWeights& weights) = 0;
  /// Takes a stream on, of the original layer when `weights` is null.
  virtual void advance(const StreamPass& pass, const model::LayerWeights* weights) = 0;
};

}  // namespace awq::quantize
