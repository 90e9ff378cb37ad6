#include "kernels/api/cuda_chain.h"

#include <algorithm>
#include <iterator>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/w4_chain.cuh"
#include "kernels/cuda/w4_kernels.h"

/// Host side: the links and the shape of the launch.
namespace awq::kernels::cuda {
namespace {

constexpr std::int64_t kMostNorm = 16384;  ///< elements of a row that norm_kernel sums in fours

struct Links {
  ChainLink link[kChainMostLinks];
  int count = 0;
  ChainNeeds needs;
};

ChainLink link_of(const W4Link& link, ChainOutput output, int blocks) {
  ChainLink out;
  out.weight = static_cast<const std::uint8_t*>(link.weight);
  out.bias = link.bias;
  out.output = output;
  out.n = static_cast<std::int32_t>(link.layout.n);
  out.k = static_cast<std::int32_t>(link.layout.k);
  out.steps = static_cast<std::int32_t>(link.layout.steps());
  while (1 << out.leaves_log2 < w4_leaves(link.layout.k)) ++out.leaves_log2;
  out.deal(blocks);
  return out;
}

Links links_of(const W4Chain& chain, const DeviceLimits& limits) {
  const int blocks = limits.multiprocessors;
  Links out;
  out.link[out.count++] = link_of(chain.o, ChainOutput::kAddToHidden, blocks);
  out.link[out.count++] = link_of(chain.gate_up, ChainOutput::kSiluProduct, blocks);
  out.link[out.count++] = link_of(chain.down, ChainOutput::kAddToHidden, blocks);
  if (chain.qkv.layout.n > 0) out.link[out.count++] = link_of(chain.qkv, ChainOutput::kHalves, blocks);
  out.needs.groups = static_cast<int>(chain.o.layout.step_groups());
  out.needs.m = chain.m;
  for (int i = 0; i < out.count; ++i) {
    const ChainLink& link = out.link[i];
    out.needs.most_steps = std::max<std::int64_t>(out.needs.most_steps, link.steps);
    out.needs.most_units = std::max<std::int64_t>(out.needs.most_units, ChainShare(link, 0).units);
  }
  return out;
}

template <Half kType, int kGroup, int kDepth>
int launch_chain(const ChainArgs& args, std::int64_t bytes, const DeviceLimits& limits, Stream stream) {
  constexpr auto kKernel = w4_chain_kernel<kType, kGroup, kDepth>;
  if (const int status = allow_shared_bytes<kKernel>(limits.shared_bytes); status != 0) return status;
  // One block to a multiprocessor: more would not be there at the same time.
  return launch(kKernel, dim3(static_cast<unsigned>(limits.multiprocessors)), static_cast<unsigned>(args.warps) * 32,
                static_cast<std::size_t>(bytes), stream, LaunchTraits{.together = true}, args);
}

template <Half kType, int kGroup>
int launch_depth(const ChainArgs& args, int depth, std::int64_t bytes, const DeviceLimits& limits, Stream stream) {
  return depth == 6 ? launch_chain<kType, kGroup, 6>(args, bytes, limits, stream)
                    : launch_chain<kType, kGroup, 4>(args, bytes, limits, stream);
}

}  // namespace

bool w4_chain_pays() { return current_limits().capability == 90; }

const char* w4_chain_objection(const W4Chain& chain) {
  const DeviceLimits limits = current_limits();
  if (limits.capability < 80) return "needs compute capability 8.0";
  if (chain.m < 1 || chain.m > 8) return "takes up to 8 tokens";
  const std::int64_t groups = chain.o.layout.step_groups();
  const bool last = chain.qkv.layout.n <= 0;
  if (chain.gate_up.layout.step_groups() != groups || chain.down.layout.step_groups() != groups ||
      (!last && chain.qkv.layout.step_groups() != groups)) {
    return "the group sizes differ";
  }
  const std::int64_t hidden = chain.o.layout.n;
  const std::int64_t inner = chain.down.layout.k;
  if (chain.gate_up.layout.k != hidden || chain.gate_up.layout.n != 2 * inner || chain.down.layout.n != hidden ||
      (!last && chain.qkv.layout.k != hidden)) {
    return "the widths do not fit together";
  }
  if (hidden > kMostNorm) return "hidden_size is over 16384";
  if (inner % 16 != 0) return "intermediate_size is not a multiple of 16";
  if (chain_shape(links_of(chain, limits).needs, limits.shared_bytes).warps == 0) {
    return "the tokens do not fit in shared memory";
  }
  return nullptr;
}

int w4_chain(const W4Chain& chain, Stream stream) {
  if (w4_chain_objection(chain) != nullptr) return cudaErrorInvalidValue;
  const DeviceLimits limits = current_limits();
  const Links links = links_of(chain, limits);
  const ChainShape shape = chain_shape(links.needs, limits.shared_bytes);
  ChainArgs args;
  args.count = links.count;
  std::copy(std::begin(links.link), std::end(links.link), args.links);
  args.links[0].from = static_cast<const std::uint16_t*>(chain.attended);
  args.links[1].input = ChainInput::kNorm;
  args.links[1].norm = chain.mlp_norm;
  args.links[1].to = static_cast<std::uint16_t*>(chain.product);
  args.links[2].from = static_cast<const std::uint16_t*>(chain.product);
  if (links.count == 4) {
    args.links[3].input = ChainInput::kNorm;
    args.links[3].norm = chain.next_norm;
    args.links[3].to = static_cast<std::uint16_t*>(chain.qkv_out);
  }
  args.hidden = chain.hidden;
  args.eps = chain.eps;
  args.m = static_cast<std::int32_t>(chain.m);
  args.rows = small_token_rows(chain.m);
  for (args.rows_log2 = 0; 1 << args.rows_log2 < args.rows;) ++args.rows_log2;
  args.warps = shape.warps;
  args.token_bytes = static_cast<std::int32_t>(chain_token_bytes(links.needs));
  args.arrived = static_cast<std::uint32_t*>(chain.workspace);
  args.finished = args.arrived + kW4ChainWorkspaceBytes / 2 / sizeof(std::uint32_t);
  const std::int64_t bytes = chain_shared_bytes(links.needs, shape);
  return for_half(chain.type, [&]<Half kType>() {
    switch (links.needs.groups) {
      case 4:
        return launch_depth<kType, 32>(args, shape.depth, bytes, limits, stream);
      case 2:
        return launch_depth<kType, 64>(args, shape.depth, bytes, limits, stream);
      default:
        return launch_depth<kType, 128>(args, shape.depth, bytes, limits, stream);
    }
  });
}

}  // namespace awq::kernels::cuda
