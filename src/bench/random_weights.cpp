#include "bench/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/float16.h"
#include "base/random.h"
#include "quant/group_quant.h"
#include "tensor/convert.h"

namespace awq::bench {
namespace {

constexpr std::uint64_t kEmbeddingSeed = 11;
constexpr std::uint64_t kHeadSeed = 12;

std::size_t size_of(std::int64_t value) { return static_cast<std::size_t>(value); }

AlignedBuffer<float> ones(std::int64_t count) {
  AlignedBuffer<float> out(size_of(count));
  std::fill(out.begin(), out.end(), 1.0F);
  return out;
}

/// Uniform numbers of standard deviation `deviation` in BF16, four from each draw.
void fill_bf16(std::uint64_t seed, double deviation, std::span<Bf16> out) {
  const auto step = static_cast<float>(deviation * std::sqrt(3.0) / 32768);
  const auto draws = static_cast<std::int64_t>((out.size() + 3) / 4);
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < draws; ++i) {
    std::uint64_t bits = random_bits(seed, static_cast<std::uint64_t>(i));
    for (std::size_t j = size_of(i) * 4; j < std::min(out.size(), size_of(i) * 4 + 4); ++j, bits >>= 16) {
      out[j] = to_bf16(step * (static_cast<float>(bits & 0xFFFF) - 32767.5F));
    }
  }
}

model::LinearWeights dense(std::uint64_t seed, model::LinearShape shape, double deviation) {
  model::LinearWeights out;
  out.out_features = static_cast<std::uint64_t>(shape.out_features);
  out.in_features = static_cast<std::uint64_t>(shape.in_features);
  out.dtype = DType::kBf16;
  const std::size_t count = size_of(shape.out_features) * size_of(shape.in_features);
  out.dense = AlignedBuffer<std::byte>(count * sizeof(Bf16));
  fill_bf16(seed, deviation, {reinterpret_cast<Bf16*>(out.dense.data()), count});
  return out;
}

quant::QuantizedTensor quantized(std::uint64_t seed, model::LinearShape shape, const quant::Scheme& scheme) {
  quant::QuantizedTensor out = quant::make_tensor(static_cast<std::uint64_t>(shape.out_features),
                                                  static_cast<std::uint64_t>(shape.in_features), scheme, DType::kF16);
  const int largest = quant::max_code(scheme.bits);
  const auto draws = static_cast<std::int64_t>((out.codes.size() + 7) / 8);
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < draws; ++i) {
    std::uint64_t bits = random_bits(seed, static_cast<std::uint64_t>(i));
    for (std::size_t j = size_of(i) * 8; j < std::min(out.codes.size(), size_of(i) * 8 + 8); ++j, bits >>= 8) {
      out.codes[j] = static_cast<std::uint8_t>(bits & static_cast<std::uint64_t>(largest));
    }
  }
  // Uniform codes deviate by (2^bits - 1) / sqrt(12); weights by 1 / sqrt(K), which keeps the size of activations.
  const double scale = std::sqrt(12.0) / largest / std::sqrt(static_cast<double>(shape.in_features));
  for (std::size_t i = 0; i < out.scales.size(); ++i) {
    const double u = uniform(seed + 1, i);
    out.scales[i] = to_float(to_f16(static_cast<float>(scale * (0.9 + 0.2 * u))));
    out.zero_points[i] = static_cast<std::uint8_t>(largest / 2 + (u < 0.5 ? 0 : 1));
  }
  return out;
}

}  // namespace

RandomWeights::RandomWeights(model::ConfigFile file, Options options) : file_(std::move(file)), options_(options) {
  if (options.bits != 16 && (options.bits < 2 || options.bits > 8)) {
    fail(ErrorCode::kInvalidArgument, "--bits {}: expected 2 to 8, or 16", options.bits);
  }
  if (options.group_size != -1 && (options.group_size < 1 || options.group_size > model::ConfigReader::kMaxSize)) {
    fail(ErrorCode::kInvalidArgument, "--group-size {}: expected at least 1, or -1 for whole rows", options.group_size);
  }
}

model::LinearWeights RandomWeights::linear(std::uint64_t seed, model::LinearShape shape, bool bias) const {
  const bool divides = options_.group_size == -1 || shape.in_features % options_.group_size == 0;
  model::LinearWeights out;
  if (options_.bits == 16 || !divides) {
    out = dense(seed, shape, 1 / std::sqrt(static_cast<double>(shape.in_features)));
  } else {
    out.out_features = static_cast<std::uint64_t>(shape.out_features);
    out.in_features = static_cast<std::uint64_t>(shape.in_features);
    out.quantized = quantized(seed, shape, {.bits = options_.bits, .group_size = options_.group_size});
  }
  if (bias) {
    out.bias = AlignedBuffer<float>(size_of(shape.out_features));
    for (std::size_t i = 0; i < out.bias.size(); ++i) {
      out.bias[i] = static_cast<float>(0.1 * (uniform(seed + 2, i) - 0.5));
    }
  }
  return out;
}

model::LayerWeights RandomWeights::load_layer(std::int64_t layer) const {
  const model::ModelConfig& c = file_.config;
  model::LayerWeights out;
  for (std::size_t i = 0; i < model::kRoles; ++i) {
    const auto role = static_cast<model::Role>(i);
    const std::uint64_t seed = mix64(options_.seed) + 1000 * static_cast<std::uint64_t>(layer + 1) + 10 * i;
    out.linears[i] = linear(seed, model::linear_shape(c, role), model::linear_has_bias(c, role));
  }
  out.input_norm = ones(c.hidden_size);
  out.mlp_norm = ones(c.hidden_size);
  if (c.qk_norm) {
    out.q_norm = ones(c.head_dim);
    out.k_norm = ones(c.head_dim);
  }
  return out;
}

model::LinearWeights RandomWeights::load_embedding() const {
  if (file_.config.tie_word_embeddings) return {};
  return dense(mix64(options_.seed) + kEmbeddingSeed, {file_.config.vocab_size, file_.config.hidden_size}, 1);
}

model::LinearWeights RandomWeights::load_head() const {
  // Rows of a tied matrix are embeddings as well: their size does not matter, norms follow.
  const double width = static_cast<double>(file_.config.hidden_size);
  return dense(mix64(options_.seed) + kHeadSeed, {file_.config.vocab_size, file_.config.hidden_size},
               1 / std::sqrt(width));
}

AlignedBuffer<float> RandomWeights::load_final_norm() const { return ones(file_.config.hidden_size); }

void RandomWeights::embed(std::span<const std::int32_t> ids, float* out) const {
  const model::LinearWeights stored = file_.config.tie_word_embeddings ? load_head() : load_embedding();
  const auto width = size_of(file_.config.hidden_size);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= file_.config.vocab_size) {
      fail(ErrorCode::kInvalidArgument, "token id {} is outside the vocabulary of {}", ids[i], file_.config.vocab_size);
    }
    const std::size_t row_bytes = width * sizeof(Bf16);
    widen_to_float(DType::kBf16, {stored.dense.data() + size_of(ids[i]) * row_bytes, row_bytes},
                   {out + i * width, width});
  }
}

}  // namespace awq::bench
