#include "quantize/gguf_model.h"

#include <cstring>

#include "base/check.h"

namespace awq::quantize {
namespace {

/// The linear's weights as they come back from `type`, in F32.
void round_trip(quant::GgufType type, const std::string& name, model::LinearWeights& weights) {
  model::check_finite(weights, name);
  const AlignedBuffer<float> from = weights.to_floats();
  const auto rows = static_cast<std::int64_t>(weights.out_features);
  const auto width = static_cast<std::size_t>(weights.in_features);
  AlignedBuffer<std::byte> dense(from.size() * sizeof(float));
#pragma omp parallel for schedule(static)
  for (std::int64_t n = 0; n < rows; ++n) {
    auto* row = reinterpret_cast<float*>(dense.data()) + static_cast<std::size_t>(n) * width;
    std::memcpy(row, from.data() + static_cast<std::size_t>(n) * width, width * sizeof(float));
    quant::gguf_round_trip(type, {row, width});
  }
  weights.dense = std::move(dense);
  weights.dtype = DType::kF32;
}

}  // namespace

GgufModel::GgufModel(const model::ModelFiles& files, const GgufRecipe& recipe)
    : files_(files), mixture_(recipe, files) {
  if (files.codec() != nullptr) {
    fail(ErrorCode::kUnsupported, "{}: the model is quantized already ({}); expected an unquantized model",
         files.folder().string(), files.codec()->name);
  }
}

model::LayerWeights GgufModel::load_layer(std::int64_t layer) const {
  model::LayerWeights weights = files_.load_layer(layer);
  for (const model::LinearSpec& spec : files_.architecture().linears) {
    round_trip(mixture_.linear(layer, spec.role), files_.linear_name(layer, spec) + ".weight", weights[spec.role]);
  }
  return weights;
}

void GgufModel::embed(std::span<const std::int32_t> ids, float* out) const {
  files_.embed(ids, out);
  const auto width = static_cast<std::size_t>(config().hidden_size);
  for (std::size_t i = 0; i < ids.size(); ++i) quant::gguf_round_trip(mixture_.embedding(), {out + i * width, width});
}

model::LinearWeights GgufModel::load_head() const {
  model::LinearWeights head = files_.load_head();
  round_trip(mixture_.head(), files_.head_tensor(), head);
  return head;
}

model::LinearWeights GgufModel::load_embedding() const {
  model::LinearWeights embedding = files_.load_embedding();
  if (embedding.out_features == 0) return embedding;  // the head serves
  round_trip(mixture_.embedding(), files_.embedding_tensor(), embedding);
  return embedding;
}

}  // namespace awq::quantize
