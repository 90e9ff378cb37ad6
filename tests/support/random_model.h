#pragma once

#include <cmath>
#include <cstring>
#include <vector>

#include "model/model_files.h"
#include "support/random.h"

namespace awq::test {

/// A Llama-like model with random binary32 weights that exists in memory only: as many key/value heads as heads (which
/// none of the golden models has), biases everywhere, and channels of very different size.
class RandomModel : public model::WeightSource {
 public:
  RandomModel() : architecture_(*model::find_architecture("LlamaForCausalLM")) {
    config_.hidden_size = 32;
    config_.intermediate_size = 64;
    config_.num_hidden_layers = 2;
    config_.num_attention_heads = config_.num_key_value_heads = 4;
    config_.head_dim = 8;
    config_.vocab_size = 64;
    config_.max_position_embeddings = 128;
    config_.qkv_bias = config_.output_bias = config_.mlp_bias = true;
    config_.layer_window = {0, 0};
  }
  const model::ModelConfig& config() const override { return config_; }
  const model::Architecture& architecture() const override { return architecture_; }

  model::LayerWeights load_layer(std::int64_t layer) const override {
    model::LayerWeights out;
    const std::uint64_t seed = 1000 * (static_cast<std::uint64_t>(layer) + 1);
    for (std::size_t i = 0; i < model::kRoles; ++i) {
      const model::LinearShape shape = model::linear_shape(config_, static_cast<model::Role>(i));
      out.linears[i] = make_linear(seed + i * 10, shape);
    }
    out.input_norm = spread(seed + 90);
    out.mlp_norm = spread(seed + 91);
    return out;
  }
  void embed(std::span<const std::int32_t> ids, float* out) const override {
    for (const std::int32_t id : ids) {
      const std::vector<float> row = random_floats(static_cast<std::uint64_t>(id) + 5000, 32);
      out = std::copy(row.begin(), row.end(), out);
    }
  }
  AlignedBuffer<float> load_final_norm() const override { return spread(7); }
  model::LinearWeights load_head() const override { return make_linear(8, {64, 32}); }
  model::LinearWeights load_embedding() const override {
    model::LinearWeights out;
    out.out_features = 64;
    out.in_features = 32;
    out.dense = AlignedBuffer<std::byte>(64 * 32 * sizeof(float));
    for (std::int32_t id = 0; id < 64; ++id) embed({&id, 1}, reinterpret_cast<float*>(out.dense.data()) + id * 32);
    return out;
  }

 private:
  /// Numbers between 1/4 and 4 of either sign.
  static AlignedBuffer<float> spread(std::uint64_t seed) {
    std::vector<float> out = random_floats(seed, 32, 2);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = std::exp2(out[i]) * (i % 5 == 0 ? -1.0F : 1.0F);
    return to_buffer(out);
  }
  static model::LinearWeights make_linear(std::uint64_t seed, model::LinearShape shape) {
    const auto rows = static_cast<std::size_t>(shape.out_features);
    const auto width = static_cast<std::size_t>(shape.in_features);
    std::vector<float> values = random_floats(seed, rows * width, 0.3);
    // Rows of different size: what they produce has large and small channels.
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] *= static_cast<float>(std::exp2(3 * uniform(seed + 1, i / width)));
    }
    model::LinearWeights out;
    out.out_features = rows;
    out.in_features = width;
    out.dense = AlignedBuffer<std::byte>(values.size() * sizeof(float));
    std::memcpy(out.dense.data(), values.data(), out.dense.size());
    out.bias = to_buffer(random_floats(seed + 2, rows, 0.2));
    return out;
  }

  const model::Architecture& architecture_;
  model::ModelConfig config_;
};

}  // namespace awq::test
