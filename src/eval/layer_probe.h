#pragma once

#include <array>
#include <span>
#include <vector>

#include "eval/windows.h"
#include "model/model_files.h"
#include "ops/linear.h"

namespace awq::eval {

/// What quantizing one layer costs, as parts of squared sums over some text.
struct LayerError {
  /// Error of the layer's output when only its attention (or MLP) is the other model's and its input is the base's,
  /// relative to what the layer adds to its input.
  double attention = 0;
  double mlp = 0;
  /// Error of the hidden state after this layer when all layers so far are the other model's, relative to that state.
  double accumulated = 0;
};

/// Mean |x| per channel at every site of one layer; [site][channel], empty where nothing reads.
using SiteMagnitudes = std::array<std::vector<float>, model::kSites>;

struct LayerProbe {
  std::vector<std::vector<LayerError>> errors;  ///< [model][layer]
  std::vector<SiteMagnitudes> base;             ///< [layer]
  std::vector<SiteMagnitudes> profiled;         ///< [layer], of the model asked for, on the same inputs
};

/// Takes `windows` through `base` and each of `models` layer by layer, holding one layer of two models at a time.
/// `profiled` is the model whose activations are wanted, or null.
LayerProbe probe_layers(std::span<const model::WeightSource* const> models, const model::WeightSource& base,
                        const Windows& windows, const model::WeightSource* profiled,
                        ops::Precision precision = ops::Precision::kF32);

}  // namespace awq::eval
