#include "quantize/gguf_mixture.h"

#include <algorithm>
#include <iterator>

namespace awq::quantize {
namespace {

using model::Role;
using quant::GgufType;

constexpr GgufRecipe kRecipes[] = {
    {"gguf-q4_0", "llama.cpp's Q4_0: 32 weights share a scale", GgufType::kQ4_0, false},
    {"gguf-q4_1", "llama.cpp's Q4_1: 32 weights share a scale and a minimum", GgufType::kQ4_1, false},
    {"gguf-q4_k_m", "llama.cpp's Q4_K_M: nested scales, with Q6_K where it matters most", GgufType::kQ4K, true},
    {"gguf-q8_0", "llama.cpp's Q8_0", GgufType::kQ8_0, false},
};

/// Layers at both ends and every third between them.
bool gets_more_bits(std::int64_t layer, std::int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

}  // namespace

std::span<const GgufRecipe> gguf_recipes() { return kRecipes; }

const GgufRecipe* find_gguf_recipe(std::string_view method) {
  const auto* found =
      std::find_if(std::begin(kRecipes), std::end(kRecipes), [&](const GgufRecipe& r) { return method == r.method; });
  return found == std::end(kRecipes) ? nullptr : found;
}

GgufMixture::GgufMixture(const GgufRecipe& recipe, const model::ModelFiles& files)
    : recipe_(recipe), files_(files), tied_(files.head_tensor() == files.embedding_tensor()) {}

GgufType GgufMixture::fitted(GgufType wanted, std::int64_t in_features) {
  const auto whole = [&](GgufType type) { return in_features % quant::gguf_block(type).elements == 0; };
  if (whole(wanted)) return wanted;
  GgufType next = GgufType::kF16;
  if (wanted == GgufType::kQ4K) next = GgufType::kQ5_0;
  if (wanted == GgufType::kQ5K) next = GgufType::kQ5_1;
  if (wanted == GgufType::kQ6K) next = GgufType::kQ8_0;
  return whole(next) ? next : GgufType::kF16;
}

GgufType GgufMixture::linear(std::int64_t layer, Role role) const {
  const model::ModelConfig& config = files_.config();
  const std::int64_t inputs = model::linear_shape(config, role).in_features;
  GgufType type = recipe_.base;
  if (recipe_.mixture && (role == Role::kV || role == Role::kDown)) {
    if (gets_more_bits(layer, config.num_hidden_layers)) {
      type = GgufType::kQ6K;
    } else if (role == Role::kV && config.num_hidden_layers == 80 &&
               config.num_attention_heads != config.num_key_value_heads) {
      type = GgufType::kQ5K;  // the 70B models, whose few value heads cost little
    }
  }
  return fitted(type, inputs);
}

GgufType GgufMixture::embedding() const { return tied_ ? head() : fitted(recipe_.base, files_.config().hidden_size); }

GgufType GgufMixture::head() const {
  return fitted(recipe_.base == GgufType::kQ8_0 ? GgufType::kQ8_0 : GgufType::kQ6K, files_.config().hidden_size);
}

std::uint64_t GgufMixture::tensor_bytes() const {
  const model::ModelConfig& config = files_.config();
  const auto matrix = [](GgufType type, std::int64_t rows, std::int64_t columns) {
    const std::uint64_t bytes =
        static_cast<std::uint64_t>(rows) * quant::gguf_row_bytes(type, static_cast<std::uint64_t>(columns));
    return (bytes + 31) / 32 * 32;
  };
  const auto vector = [&](std::int64_t width) { return matrix(GgufType::kF32, 1, width); };
  std::uint64_t total = matrix(embedding(), config.vocab_size, config.hidden_size) + vector(config.hidden_size);
  if (!tied_) total += matrix(head(), config.vocab_size, config.hidden_size);
  for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    for (const model::LinearSpec& spec : files_.architecture().linears) {
      const model::LinearShape shape = model::linear_shape(config, spec.role);
      total += matrix(linear(layer, spec.role), shape.out_features, shape.in_features);
      if (model::linear_has_bias(config, spec.role)) total += vector(shape.out_features);
    }
    for (const model::SiteSpec& site : files_.architecture().sites) {
      if (site.norm != nullptr) total += vector(config.hidden_size);
    }
    if (config.qk_norm) total += 2 * vector(config.head_dim);
  }
  return total;
}

}  // namespace awq::quantize
