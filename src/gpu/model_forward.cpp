// The forward pass of the Llama family on a device: the same steps as model/decoder.cpp, fused where kernels are.

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "device/device.h"
#include "gpu/batch.h"
#include "gpu/model.h"

namespace awq::gpu {
namespace {

using device::check;

constexpr std::int64_t kHalfBytes = 2;

/// Rows that a product of cublasLt is asked for: few different numbers, so that few algorithms are chosen. What lies in
/// the rows beyond m is never read.
constexpr std::int64_t dense_rows(std::int64_t m) {
  const std::int64_t unit = m <= 64 ? 8 : 64;
  return (m + unit - 1) / unit * unit;
}

}  // namespace

std::uint64_t Model::kv_block_bytes() const {
  return static_cast<std::uint64_t>(config_.num_key_value_heads *
                                    kernels::cuda::kv_head_bytes(cache_type_, config_.head_dim));
}

Activations Model::lay_out(const BatchLimits& limits, device::Arena& arena) const {
  const std::int64_t tokens = dense_rows(limits.tokens);
  const std::int64_t rows = dense_rows(limits.rows);
  const auto halves = [&](std::int64_t count, std::int64_t width) {
    return arena.take(static_cast<std::uint64_t>(count * width * kHalfBytes));
  };
  Activations out;
  out.hidden = arena.take_array<float>(tokens * config_.hidden_size);
  out.normed = halves(tokens, config_.hidden_size);
  out.qkv = halves(tokens, config_.q_width() + 2 * config_.kv_width());
  out.attended = halves(tokens, config_.q_width());
  out.branch = halves(tokens, config_.hidden_size);
  out.gate_up = halves(tokens, 2 * config_.intermediate_size);
  out.product = halves(tokens, config_.intermediate_size);
  out.last = halves(rows, config_.hidden_size);
  out.results = arena.take_array<float>(tokens * config_.hidden_size);
  out.logits = arena.take_array<float>(rows * config_.vocab_size);
  std::uint64_t linear_bytes = 0;
  std::uint64_t panel_bytes = 0;
  for (const Layer& layer : layers_) {
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      if (!linear->quantized()) continue;
      if (uses_panel(*linear, limits.tokens)) {
        panel_bytes = std::max(panel_bytes, kernels::cuda::w4_panel_bytes(linear->layout()));
      }
      linear_bytes = std::max(linear_bytes, kernels::cuda::w4_workspace_bytes(linear->layout(), limits.tokens));
    }
  }
  out.linear_workspace = arena.take(linear_bytes);
  out.chain_workspace = arena.take(kernels::cuda::kW4ChainWorkspaceBytes);
  if (panel_bytes != 0) out.panel = arena.take(panel_bytes);
  out.attention_workspace = arena.take(kernels::cuda::attention_workspace_bytes(
      static_cast<std::int32_t>(config_.num_attention_heads), static_cast<std::int32_t>(config_.head_dim),
      static_cast<std::int32_t>(limits.sequences), static_cast<std::int32_t>(limits.tokens),
      static_cast<std::int32_t>(limits.length)));
  return out;
}

void Model::apply(const Linear& linear, const Activations& work, const std::byte* x, std::int64_t m, std::byte* y,
                  const device::Stream& stream) {
  const void* weight = linear.weight();
  const void* bias = linear.bias();
  if (uses_panel(linear, m)) {
    check(kernels::cuda::w4_expand(linear.layout(), type_, weight, static_cast<const float*>(bias), work.panel,
                                   stream.get()),
          "the expansion of a 4-bit weight");
    weight = work.panel;
    if (bias != nullptr) bias = work.panel + linear.out_features() * linear.in_features() * kHalfBytes;
  } else if (linear.quantized()) {
    const kernels::cuda::W4Problem problem{.layout = linear.layout(),
                                           .type = type_,
                                           .weight = weight,
                                           .bias = static_cast<const float*>(bias),
                                           .x = x,
                                           .y = y,
                                           .m = m,
                                           .workspace = work.linear_workspace};
    return check(kernels::cuda::w4_linear(problem, stream.get()), "a 4-bit linear");
  }
  const device::DenseShape shape{.type = type_,
                                 .m = dense_rows(m),
                                 .n = linear.out_features(),
                                 .k = linear.in_features(),
                                 .has_bias = bias != nullptr};
  dense_->run(shape, x, weight, bias, y, stream);
}

std::vector<std::string> Model::linear_kernels(std::int64_t m) const {
  std::vector<std::string> names;
  if (m <= chained_tokens_) names.emplace_back("chain");
  for (const Layer& layer : layers_) {
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down}) {
      std::string name = uses_panel(*linear, m) ? kPanelName : "cublasLt";
      if (linear->quantized() && !uses_panel(*linear, m)) {
        const kernels::cuda::W4Problem problem{.layout = linear->layout(), .type = type_, .m = m};
        name = kernels::cuda::w4_kernel_names()[kernels::cuda::w4_choice(problem)];
      }
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(std::move(name));
    }
  }
  return names;
}

void Model::attend(const Layer& layer, std::int64_t index, const Activations& work,
                   const kernels::cuda::SequenceBatch& batch, bool store_only, const KvPool& kv,
                   const device::Stream& stream) {
  const std::int64_t d = config_.head_dim;
  const auto heads = static_cast<std::int32_t>(config_.num_attention_heads);
  const kernels::cuda::KvBlocks blocks{.data = kv.data + static_cast<std::uint64_t>(index) * kv.layer_bytes,
                                       .num_kv_heads = static_cast<std::int32_t>(config_.num_key_value_heads),
                                       .head_dim = static_cast<std::int32_t>(d),
                                       .type = cache_type_};
  const auto* norms = reinterpret_cast<const float*>(layer.norms.data());
  const auto* cosines = reinterpret_cast<const float*>(rope_.data());
  kernels::cuda::Rotation rotation{
      .cosines = cosines, .sines = cosines + positions_ * (d / 2), .eps = static_cast<float>(config_.rms_norm_eps)};
  if (config_.qk_norm) {
    rotation.q_norm = norms + 2 * config_.hidden_size;
    rotation.k_norm = rotation.q_norm + d;
  }
  const kernels::cuda::AttentionProblem problem{.type = type_,
                                                .num_heads = heads,
                                                .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d))),
                                                .window = config_.layer_window[static_cast<std::size_t>(index)],
                                                .q = work.qkv,
                                                .q_stride = config_.q_width() + 2 * config_.kv_width(),
                                                .out = work.attended};
  if (batch.tokens <= fused_tokens_) {
    return check(
        kernels::cuda::rotate_and_attend(problem, rotation, batch, blocks, work.attention_workspace, stream.get()),
        "attention");
  }
  check(kernels::cuda::rope_and_store(type_, work.qkv, heads, batch, rotation, blocks, stream.get()),
        "the rotary embedding");
  if (store_only) return;
  check(kernels::cuda::attention(problem, batch, blocks, work.attention_workspace, stream.get()), "attention");
}

const float* Model::forward(const Activations& work, const std::int32_t* ids, const kernels::cuda::SequenceBatch& batch,
                            const Results& results, const KvPool& kv, const device::Stream& stream) {
  const std::int64_t tokens = batch.tokens;
  const std::int64_t h = config_.hidden_size;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  const void* table = embedding_.bytes() != 0 ? embedding_.data() : head_.weight();
  check(kernels::cuda::embed(type_, table, ids, tokens, h, work.hidden, stream.get()), "the embedding");
  check(kernels::cuda::rms_norm(type_, work.hidden, nullptr, layers_.front().input_norm(), eps, tokens, h, work.normed,
                                stream.get()),
        "a norm");
  apply(layers_.front().qkv, work, work.normed, tokens, work.qkv, stream);
  const bool narrow = results.rows != nullptr && results.count < tokens;
  const auto finish = [&](std::size_t i, const Activations& with, std::int64_t rows) {
    if (rows <= chained_tokens_) return run_chain(i, with, rows, stream);
    finish_layer(i, with, rows, stream);
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const bool ends_narrow = narrow && i + 1 == layers_.size();
    attend(layers_[i], static_cast<std::int64_t>(i), work, batch, ends_narrow && results.count == 0, kv, stream);
    if (!ends_narrow) finish(i, work, tokens);
  }
  if (!narrow) return work.hidden;
  if (results.count > 0) {
    Activations last = work;
    last.hidden = work.results;
    last.attended = work.qkv;  // which nobody needs any more
    check(kernels::cuda::gather_rows(last.hidden, work.hidden, results.rows, results.count,
                                     h * static_cast<std::int64_t>(sizeof(float)), stream.get()),
          "hidden states of results");
    check(kernels::cuda::gather_rows(last.attended, work.attended, results.rows, results.count,
                                     config_.q_width() * kHalfBytes, stream.get()),
          "attention of results");
    finish(layers_.size() - 1, last, results.count);
  }
  return work.results;
}

void Model::finish_layer(std::size_t index, const Activations& work, std::int64_t tokens,
                         const device::Stream& stream) {
  const Layer& layer = layers_[index];
  const std::int64_t h = config_.hidden_size;
  const float eps = static_cast<float>(config_.rms_norm_eps);
  apply(layer.o, work, work.attended, tokens, work.branch, stream);
  check(kernels::cuda::add_rms_norm(type_, work.hidden, work.branch, layer.mlp_norm(h), eps, tokens, h, work.normed,
                                    stream.get()),
        "a norm");
  apply(layer.gate_up, work, work.normed, tokens, work.gate_up, stream);
  check(
      kernels::cuda::silu_multiply(type_, work.gate_up, tokens, config_.intermediate_size, work.product, stream.get()),
      "the activation function");
  apply(layer.down, work, work.product, tokens, work.branch, stream);
  // The addition is fused with the norm of the layer that follows.
  const bool is_last = index + 1 == layers_.size();
  const float* next = is_last ? nullptr : layers_[index + 1].input_norm();
  check(kernels::cuda::add_rms_norm(type_, work.hidden, work.branch, next, eps, tokens, h, work.normed, stream.get()),
        "a norm");
  if (!is_last) apply(layers_[index + 1].qkv, work, work.normed, tokens, work.qkv, stream);
}

void Model::head(const Activations& work, const float* hidden, const std::int32_t* row_ids, std::int64_t count,
                 const device::Stream& stream) {
  check(kernels::cuda::rms_norm(type_, hidden, row_ids, reinterpret_cast<const float*>(final_norm_.data()),
                                static_cast<float>(config_.rms_norm_eps), count, config_.hidden_size, work.last,
                                stream.get()),
        "the final norm");
  const auto* bias = reinterpret_cast<const float*>(head_bias_.data());
  if (quantized_) {
    const kernels::cuda::DenseProblem problem{.type = type_,
                                              .weight = head_.weight(),
                                              .bias = bias,
                                              .x = work.last,
                                              .y = work.logits,
                                              .m = count,
                                              .n = head_.out_features(),
                                              .k = head_.in_features()};
    return check(kernels::cuda::dense_linear(problem, stream.get()), "the output matrix");
  }
  const device::DenseShape shape{.type = type_,
                                 .m = dense_rows(count),
                                 .n = head_.out_features(),
                                 .k = head_.in_features(),
                                 .float_output = true,
                                 .has_bias = bias != nullptr};
  dense_->run(shape, work.last, head_.weight(), bias, work.logits, stream);
}

}  // namespace awq::gpu
