// Loading: what a model reads once.

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/stop.h"
#include "device/device.h"
#include "gpu/model.h"
#include "model/rope_frequencies.h"
#include "ops/rope.h"

namespace awq::gpu {
namespace {

device::Buffer upload_floats(std::initializer_list<std::span<const float>> parts) {
  std::size_t count = 0;
  for (const auto part : parts) count += part.size();
  device::Buffer out(count * sizeof(float));
  std::byte* to = out.data();
  for (const auto part : parts) {
    if (part.empty()) continue;
    device::upload(to, part.data(), part.size_bytes());
    to += part.size_bytes();
  }
  return out;
}

Half activation_type(DType stored, const ModelOptions& options) {
  if (options.type) return *options.type;
  if (stored == DType::kF16) return Half::kF16;
  return stored == DType::kBf16 ? Half::kBf16 : options.f32_as;
}

void check_type(Half type) {
  if (const char* objection = kernels::cuda::type_objection(type)) {
    fail(ErrorCode::kDevice, "--device cuda: the model computes in {}: {}{}", type == Half::kF16 ? "f16" : "bf16",
         objection, type == Half::kBf16 ? "; --dtype f16 takes the other type" : "");
  }
}

/// Products read rows of 16 bytes.
void check_widths(const model::ModelConfig& c) {
  constexpr std::int64_t kUnit = 8;
  for (const auto& [name, width] : {std::pair{"hidden_size", c.hidden_size},
                                    {"intermediate_size", c.intermediate_size},
                                    {"num_attention_heads * head_dim", c.q_width()}}) {
    if (width % kUnit != 0) {
      fail(ErrorCode::kUnsupported, "--device cuda: {} is {}, expected a multiple of {}", name, width, kUnit);
    }
  }
}

constexpr ops::KvDtype kv_dtype_of(Half type) { return type == Half::kF16 ? ops::KvDtype::kF16 : ops::KvDtype::kBf16; }

double operations_of(const Linear& linear) {
  return 2.0 * static_cast<double>(linear.out_features()) * static_cast<double>(linear.in_features());
}

}  // namespace

kernels::cuda::CacheType cache_type(std::optional<ops::KvDtype> wanted, Half type) {
  const ops::KvDtype own = kv_dtype_of(type);
  if (wanted.value_or(own) == own) return kernels::cuda::CacheType::kHalf;
  if (*wanted == ops::KvDtype::kFp8) return kernels::cuda::CacheType::kE4M3;
  if (*wanted == ops::KvDtype::kInt8) return kernels::cuda::CacheType::kInt8;
  fail(ErrorCode::kInvalidArgument,
       "--kv-cache-dtype {}: on a device this model's keys and values are kept like its activations, in {}, or in 8 "
       "bits: "
       "expected auto, {}, int8 or fp8",
       ops::kv_dtype_name(*wanted), ops::kv_dtype_name(own), ops::kv_dtype_name(own));
}

ops::KvDtype Model::kv_dtype() const {
  using kernels::cuda::CacheType;
  if (cache_type_ == CacheType::kHalf) return kv_dtype_of(type_);
  return cache_type_ == CacheType::kE4M3 ? ops::KvDtype::kFp8 : ops::KvDtype::kInt8;
}

bool overlap_by_environment() {
  const char* value = std::getenv("AWQ_CUDA_OVERLAP");
  return value == nullptr || std::strcmp(value, "0") != 0;
}

std::optional<bool> fuse_by_environment() {
  const char* value = std::getenv("AWQ_CUDA_FUSE");
  if (value == nullptr || *value == '\0') return std::nullopt;
  return std::strcmp(value, "0") != 0;
}

Model::Model(const model::WeightSource& source, const ModelOptions& options)
    : config_(source.config()), fast_linears_(options.fast_linears), fast_from_(options.fast_from) {
  kernels::cuda::allow_overlap(options.overlap);
  check_widths(config_);
  model::LinearWeights head = source.load_head();
  model::LinearWeights embedding = source.load_embedding();
  const model::LinearWeights& table = embedding.out_features != 0 ? embedding : head;
  type_ = activation_type(table.quantized ? DType::kF32 : table.dtype, options);
  check_type(type_);
  cache_type_ = cache_type(options.kv_dtype, type_);
  constexpr std::size_t kHalfBytes = 2;
  if (embedding.out_features != 0) {
    AlignedBuffer<std::byte> halves(embedding.out_features * embedding.in_features * kHalfBytes);
    to_halves(embedding, type_, halves.data());
    embedding = {};
    embedding_ = device::Buffer(halves.size());
    device::upload(embedding_.data(), halves.data(), halves.size());
  }
  if (!head.bias.empty()) head_bias_ = upload_floats({head.bias.span()});
  FusedWeight head_weight;
  head_weight.out_features = head.out_features;
  head_weight.in_features = head.in_features;
  head_weight.halves = AlignedBuffer<std::byte>(head.out_features * head.in_features * kHalfBytes);
  to_halves(head, type_, head_weight.halves.data());
  head = {};
  head_ = Linear(head_weight, type_);
  head_weight = {};
  final_norm_ = upload_floats({source.load_final_norm().span()});
  layers_.reserve(static_cast<std::size_t>(config_.num_hidden_layers));
  const device::Stream stream;
  for (std::int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    stop_flag().throw_if_requested();
    layers_.push_back(options.repeat_first_layer && i > 0 ? copy_layer(layers_.front(), stream)
                                                          : load_layer(source, i));
  }
  stream.synchronize();
  for (const Layer& layer : layers_) {
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      quantized_ = quantized_ && linear->quantized();
    }
  }
  if (options.fuse.value_or(kernels::cuda::w4_chain_pays())) {
    fused_tokens_ = options.fuse.has_value() ? std::numeric_limits<std::int64_t>::max() : kFusedTokens;
  }
  if (quantized_ && fused_tokens_ > 0) chained_tokens_ = most_chained_tokens();
}

Model::Layer Model::load_layer(const model::WeightSource& source, std::int64_t index) {
  using model::Role;
  model::LayerWeights weights = source.load_layer(index);
  const auto fused = [&](std::initializer_list<Role> roles) {
    std::vector<model::LinearWeights*> parts;
    for (const Role role : roles) parts.push_back(&weights[role]);
    Linear linear(fuse(parts, type_), type_);
    for (model::LinearWeights* part : parts) *part = {};
    return linear;
  };
  Layer out;
  out.qkv = fused({Role::kQ, Role::kK, Role::kV});
  out.o = fused({Role::kO});
  out.gate_up = fused({Role::kGate, Role::kUp});
  out.down = fused({Role::kDown});
  out.norms =
      upload_floats({weights.input_norm.span(), weights.mlp_norm.span(), weights.q_norm.span(), weights.k_norm.span()});
  return out;
}

Model::Layer Model::copy_layer(const Layer& from, const device::Stream& stream) const {
  Layer out;
  out.qkv = from.qkv.copy(stream);
  out.o = from.o.copy(stream);
  out.gate_up = from.gate_up.copy(stream);
  out.down = from.down.copy(stream);
  out.norms = device::Buffer(from.norms.bytes());
  device::copy(out.norms.data(), from.norms.data(), from.norms.bytes(), stream);
  return out;
}

void Model::prepare(std::int64_t positions) {
  if ((!quantized_ || fast_linears_) && dense_ == nullptr) {
    dense_workspace_ = device::Buffer(device::DenseProduct::kWorkspaceBytes);
    dense_ = std::make_unique<device::DenseProduct>(dense_workspace_.data());
  }
  if (positions <= positions_) return;
  const model::RopeFrequencies rope = model::compute_rope(config_.rope, config_.head_dim, 0);
  const ops::RopeTable table = ops::RopeTable::make(rope.frequencies, rope.attention_factor, positions);
  rope_ = upload_floats({table.cosine, table.sine});
  positions_ = positions;
}

std::uint64_t Model::bytes_per_token() const {
  std::uint64_t total = head_.bytes();
  for (const Layer& layer : layers_) {
    total += layer.qkv.bytes() + layer.o.bytes() + layer.gate_up.bytes() + layer.down.bytes();
  }
  return total;
}

double Model::layer_operations() const {
  double total = 0;
  for (const Layer& layer : layers_) {
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) total += operations_of(*linear);
  }
  return total;
}

double Model::result_operations() const {
  const Layer& last = layers_.back();
  return operations_of(last.o) + operations_of(last.gate_up) + operations_of(last.down);
}

double Model::head_operations() const { return operations_of(head_); }

}  // namespace awq::gpu
