#include "gpu_quantize/layer_forward.h"

#include <algorithm>
#include <cmath>

#include "base/stop.h"
#include "kernels/api/cuda_calibrate.h"
#include "model/kv_pool.h"
#include "model/rope_frequencies.h"
#include "ops/rope.h"
#include "quantize/resource_plan.h"

namespace awq::gpu_quantize {

using device::check;
using model::Role;
using model::Site;
namespace calibrate = kernels::cuda::calibrate;

std::int64_t blocks_per_chunk(const PassShape& shape) {
  return std::min(std::max<std::int64_t>(1, quantize::kCalibrationChunk / shape.length),
                  std::max<std::int64_t>(1, shape.blocks));
}

LayerForward::LayerForward(Queue& queue, const model::ModelConfig& config, std::int64_t layer, const PassShape& shape)
    : queue_(queue),
      config_(config),
      window_(config.layer_window[static_cast<std::size_t>(layer)]),
      shape_(shape),
      per_chunk_(blocks_per_chunk(shape)) {
  // As in Decoder: frequencies depend on the length where the block is longer than the trained context.
  const std::int64_t length = model::cache_is_valid(config, shape.length) ? 0 : shape.length;
  const model::RopeFrequencies rope = model::compute_rope(config.rope, config.head_dim, length);
  const ops::RopeTable table = ops::RopeTable::make(rope.frequencies, rope.attention_factor, shape.length);
  cosines_ = uploaded(std::span<const float>(table.cosine), queue_);
  sines_ = uploaded(std::span<const float>(table.sine), queue_);
}

std::int64_t LayerForward::tokens_at(std::int64_t block) const {
  return std::min(per_chunk_, shape_.blocks - block) * shape_.length;
}

std::uint64_t LayerForward::bytes(const model::ModelConfig& c, const PassShape& shape) {
  const std::int64_t tokens = blocks_per_chunk(shape) * shape.length;
  const std::int64_t widest = std::max({c.hidden_size, c.q_width(), c.intermediate_size});
  const std::int64_t floats = 3 * c.hidden_size + 2 * c.q_width() + 2 * c.kv_width() + 2 * c.intermediate_size;
  return static_cast<std::uint64_t>(tokens * (floats * 4 + widest * (shape.bf16 ? 2 : 0)));
}

void LayerForward::project(const DeviceLayer& layer, std::initializer_list<Role> roles, const float* x,
                           std::int64_t tokens, std::initializer_list<float*> ys) {
  const std::int64_t width = layer[*roles.begin()].in_features;
  const void* operand = x;
  if (shape_.bf16) {
    work_.rounded.ensure(tokens * width);
    check(calibrate::to_bf16(x, tokens * width, work_.rounded.data(), queue_.get()), "rounding of activations");
    operand = work_.rounded.data();
  }
  auto y = ys.begin();
  for (const Role role : roles) {
    const DeviceLinear& linear = layer[role];
    queue_.multiply({.bf16 = shape_.bf16,
                     .transpose_b = true,
                     .m = tokens,
                     .n = linear.out_features,
                     .k = width,
                     .lda = width,
                     .ldb = width,
                     .ldc = linear.out_features},
                    operand, linear.weight.data(), *y);
    if (!linear.bias.empty()) {
      check(calibrate::add_bias(*y, linear.bias.data(), tokens, linear.out_features, queue_.get()), "a bias");
    }
    ++y;
  }
}

void LayerForward::attend(const DeviceLayer& layer, std::int64_t tokens) {
  const std::int64_t d = config_.head_dim;
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  const auto prepare = [&](float* x, std::int64_t heads, const Array<float>& norm) {
    if (config_.qk_norm) {
      check(calibrate::rms_norm(x, norm.data(), eps, tokens * heads, d, x, queue_.get()), "the norm of heads");
    }
    check(calibrate::rotate(x, tokens, heads, d, shape_.length, cosines_.data(), sines_.data(), queue_.get()),
          "the rotary embedding");
  };
  prepare(work_.q.data(), config_.num_attention_heads, layer.q_norm);
  prepare(work_.k.data(), config_.num_key_value_heads, layer.k_norm);
  check(calibrate::attention({.tokens = tokens,
                              .length = shape_.length,
                              .num_heads = config_.num_attention_heads,
                              .num_kv_heads = config_.num_key_value_heads,
                              .head_dim = d,
                              .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(d))),
                              .window = window_,
                              .q = work_.q.data(),
                              .k = work_.k.data(),
                              .v = work_.v.data(),
                              .out = work_.attended.data()},
                             queue_.get()),
        "attention");
}

void LayerForward::run(const DeviceLayer& layer, const std::uint16_t* stream, std::int64_t block,
                       const model::LayerPart& part,
                       const std::function<void(Site, const float*, std::int64_t)>& seen) {
  stop_flag().throw_if_requested();
  const std::int64_t tokens = tokens_at(block);
  const std::int64_t h = config_.hidden_size;
  const auto eps = static_cast<float>(config_.rms_norm_eps);
  work_.hidden.ensure(tokens * h);
  work_.normed.ensure(tokens * h);
  float* hidden = work_.hidden.data();
  float* normed = work_.normed.data();
  check(calibrate::widen(stream + block * shape_.length * h, tokens * h, hidden, queue_.get()), "hidden states");
  const auto norm = [&](const Array<float>& weight) {
    check(calibrate::rms_norm(hidden, weight.data(), eps, tokens, h, normed, queue_.get()), "a norm");
  };
  const auto add_branch = [&] {
    check(calibrate::add(hidden, work_.branch.data(), tokens * h, queue_.get()), "the residual stream");
  };
  if (!part.after_attention) {
    norm(layer.input_norm);
    seen(Site::kAttentionInput, normed, tokens);
    if (part.last == Site::kAttentionInput) return;
    work_.q.ensure(tokens * config_.q_width());
    work_.k.ensure(tokens * config_.kv_width());
    work_.v.ensure(tokens * config_.kv_width());
    work_.attended.ensure(tokens * config_.q_width());
    project(layer, {Role::kQ, Role::kK, Role::kV}, normed, tokens, {work_.q.data(), work_.k.data(), work_.v.data()});
    attend(layer, tokens);
    seen(Site::kAttentionOutput, work_.attended.data(), tokens);
    if (part.last == Site::kAttentionOutput) return;
    work_.branch.ensure(tokens * h);
    project(layer, {Role::kO}, work_.attended.data(), tokens, {work_.branch.data()});
    add_branch();
  }
  norm(layer.mlp_norm);
  seen(Site::kMlpInput, normed, tokens);
  if (part.last == Site::kMlpInput) return;
  const std::int64_t inner = config_.intermediate_size;
  work_.gate.ensure(tokens * inner);
  work_.up.ensure(tokens * inner);
  project(layer, {Role::kGate, Role::kUp}, normed, tokens, {work_.gate.data(), work_.up.data()});
  check(calibrate::silu_multiply(work_.gate.data(), work_.up.data(), tokens * inner, queue_.get()), "the activation");
  seen(Site::kMlpProduct, work_.gate.data(), tokens);
  if (part.last == Site::kMlpProduct) return;
  work_.branch.ensure(tokens * h);
  project(layer, {Role::kDown}, work_.gate.data(), tokens, {work_.branch.data()});
  add_branch();
}

void LayerForward::store(std::uint16_t* stream, std::int64_t block) const {
  const std::int64_t h = config_.hidden_size;
  check(calibrate::to_bf16(work_.hidden.data(), tokens_at(block) * h, stream + block * shape_.length * h, queue_.get()),
        "hidden states");
}

}  // namespace awq::gpu_quantize
