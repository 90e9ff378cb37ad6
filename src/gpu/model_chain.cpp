// Chains of linears: which batches run them, and what they are given.

#include "device/device.h"
#include "gpu/model.h"

namespace awq::gpu {
namespace {

kernels::cuda::W4Link link_of(const Linear& linear) {
  return {.layout = linear.layout(), .weight = linear.weight(), .bias = static_cast<const float*>(linear.bias())};
}

}  // namespace

kernels::cuda::W4Chain Model::chain(std::size_t index, std::int64_t tokens) const {
  const Layer& layer = layers_[index];
  kernels::cuda::W4Chain out{.type = type_,
                             .m = tokens,
                             .o = link_of(layer.o),
                             .gate_up = link_of(layer.gate_up),
                             .down = link_of(layer.down),
                             .mlp_norm = layer.mlp_norm(config_.hidden_size),
                             .eps = static_cast<float>(config_.rms_norm_eps)};
  if (index + 1 < layers_.size()) {
    out.qkv = link_of(layers_[index + 1].qkv);
    out.next_norm = layers_[index + 1].input_norm();
  }
  return out;
}

std::int64_t Model::most_chained_tokens() const {
  // What fits with some tokens fits with fewer.
  for (std::int64_t tokens = 8; tokens > 0; tokens /= 2) {
    bool all = true;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      all = all && kernels::cuda::w4_chain_objection(chain(i, tokens)) == nullptr;
    }
    if (all) return tokens;
  }
  return 0;
}

void Model::run_chain(std::size_t index, const Activations& work, std::int64_t tokens, const device::Stream& stream) {
  kernels::cuda::W4Chain problem = chain(index, tokens);
  problem.attended = work.attended;
  problem.hidden = work.hidden;
  problem.product = work.product;
  problem.qkv_out = work.qkv;
  problem.workspace = work.chain_workspace;
  device::check(kernels::cuda::w4_chain(problem, stream.get()), "a chain of 4-bit linears");
}

}  // namespace awq::gpu
