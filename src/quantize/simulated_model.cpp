#include "quantize/simulated_model.h"

#include <algorithm>

#include "base/copy_of.h"
#include "base/stop.h"
#include "quantize/pipeline.h"

namespace awq::quantize {
namespace {

model::LinearWeights copy(const model::LinearWeights& from) {
  model::LinearWeights to;
  to.out_features = from.out_features;
  to.in_features = from.in_features;
  to.dtype = from.dtype;
  to.dense = copy_of(from.dense);
  to.bias = copy_of(from.bias);
  if (from.quantized) {
    quant::QuantizedTensor& q = to.quantized.emplace();
    q.out_features = from.quantized->out_features;
    q.in_features = from.quantized->in_features;
    q.scheme = from.quantized->scheme;
    q.scale_dtype = from.quantized->scale_dtype;
    q.codes = copy_of(from.quantized->codes);
    q.scales = copy_of(from.quantized->scales);
    q.zero_points = copy_of(from.quantized->zero_points);
    q.group_index = from.quantized->group_index;
  }
  return to;
}

}  // namespace

SimulatedModel::SimulatedModel(const model::ModelFiles& files, const QuantizeOptions& options) : files_(files) {
  const OutputPlan plan = plan_output(files, options);
  CalibrationBlocks blocks;
  if (needs_calibration(options)) {
    const CalibrationText text = load_calibration_text(options);
    const auto tokenizer = text::Tokenizer::load(files.folder());
    const std::int64_t length = std::min(options.calibration_seqlen, files.config().max_position_embeddings);
    blocks = make_blocks(text.split.calibration, *tokenizer, options.calibration_samples, length, options.seed,
                         files.config().vocab_size);
  }
  LayerPipeline pipeline(files, plan, options, std::move(blocks), calibration_precision(files));
  if (pipeline.calibrates()) pipeline.embed();
  for (std::int64_t layer = 0; layer < files.config().num_hidden_layers; ++layer) {
    stop_flag().throw_if_requested();
    if (options.on_progress)
      options.on_progress({.stage = "quantize", .done = layer, .total = files.config().num_hidden_layers});
    layers_.push_back(pipeline.run_layer(layer).weights);
  }
}

model::LayerWeights SimulatedModel::load_layer(std::int64_t layer) const {
  const model::LayerWeights& from = layers_.at(static_cast<std::size_t>(layer));
  model::LayerWeights to;
  for (std::size_t i = 0; i < model::kRoles; ++i) to.linears[i] = copy(from.linears[i]);
  to.input_norm = copy_of(from.input_norm);
  to.mlp_norm = copy_of(from.mlp_norm);
  to.q_norm = copy_of(from.q_norm);
  to.k_norm = copy_of(from.k_norm);
  return to;
}

}  // namespace awq::quantize
