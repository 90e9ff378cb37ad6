#include "quantize/layer_passes.h"

#include "base/copy_of.h"

namespace awq::quantize {
namespace {

/// The numbers of a linear as one pass over many tokens wants them: dense, bf16 where products are.
model::LinearWeights dense_copy(const model::LinearWeights& from, ops::Precision precision) {
  model::LinearWeights to;
  to.out_features = from.out_features;
  to.in_features = from.in_features;
  to.bias = copy_of(from.bias);
  if (!from.quantized) {
    to.dtype = from.dtype;
    to.dense = copy_of(from.dense);
    return to;
  }
  if (precision == ops::Precision::kBf16) {
    to.dtype = DType::kBf16;
    to.dense = ops::expanded_to_bf16(*from.quantized);
    return to;
  }
  to.dtype = DType::kF32;
  to.dense = AlignedBuffer<std::byte>(to.out_features * to.in_features * sizeof(float));
  quant::dequantize(*from.quantized, reinterpret_cast<float*>(to.dense.data()));
  return to;
}

}  // namespace

bool runs(const model::LayerPart& part, model::Site input) {
  return !(part.after_attention && input < model::Site::kMlpInput) && !(part.last && input >= *part.last);
}

model::DecoderLayer runnable(const model::Architecture& architecture, const model::LayerWeights& weights,
                             const model::LayerPart& part, ops::Precision precision) {
  model::LayerWeights out;
  out.input_norm = copy_of(weights.input_norm);
  out.mlp_norm = copy_of(weights.mlp_norm);
  out.q_norm = copy_of(weights.q_norm);
  out.k_norm = copy_of(weights.k_norm);
  for (const model::LinearSpec& linear : architecture.linears) {
    if (runs(part, linear.input)) out[linear.role] = dense_copy(weights[linear.role], precision);
  }
  return model::DecoderLayer(std::move(out));
}

LayerPasses::LayerPasses(const model::ModelConfig& config, std::int64_t index, std::int64_t blocks, std::int64_t length,
                         ops::Precision precision)
    : config_(config),
      decoder_(config),
      index_(index),
      blocks_(blocks),
      length_(length),
      per_chunk_(std::max<std::int64_t>(1, kCalibrationChunk / length)),
      precision_(precision) {}

void LayerPasses::forward(const model::DecoderLayer& layer, const HiddenStates& stream, std::int64_t block,
                          const model::LayerPart& part, std::optional<model::Site> wanted, const Seen& seen) {
  stop_flag().throw_if_requested();
  const std::vector<model::SequenceSlice> slices(static_cast<std::size_t>(blocks_at(block)), {.token_count = length_});
  rows_.ensure(static_cast<std::size_t>(per_chunk_ * length_ * config_.hidden_size));
  stream.load(block * length_, tokens_at(block), rows_.data());
  decoder_.forward_layer(
      layer, index_, slices, rows_.data(), precision_,
      [&](model::Site at, const float* x, std::int64_t tokens) {
        if (seen && wanted == at) seen(x, tokens);
      },
      part);
}

void LayerPasses::store(HiddenStates& stream, std::int64_t block) const {
  stream.store(block * length_, tokens_at(block), rows_.data());
}

void LayerPasses::advance(const model::DecoderLayer& layer, HiddenStates& stream, const model::LayerPart& part) {
  for (std::int64_t block = 0; block < blocks_; block += per_chunk_) {
    forward(layer, stream, block, part);
    store(stream, block);
  }
}

void LayerPasses::release() {
  decoder_ = model::Decoder(config_);
  rows_ = {};
}

}  // namespace awq::quantize
