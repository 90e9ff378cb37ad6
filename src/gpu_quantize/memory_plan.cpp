#include "gpu_quantize/memory_plan.h"

#include <algorithm>

#include "kernels/api/cuda_search.h"
#include "quantize/layer_passes.h"

namespace awq::gpu_quantize {
namespace {

using model::Site;

std::uint64_t matrix(std::int64_t a, std::int64_t b) {
  return static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b);
}

/// Sizes of the layer's parts.
class Layer {
 public:
  Layer(const model::ModelConfig& config, const model::Architecture& architecture, const quant::Scheme& scheme)
      : config_(config), architecture_(architecture), scheme_(scheme) {}

  /// Weights of the linears whose input `counts`.
  template <typename Counts>
  std::uint64_t weights(const Counts& counts) const {
    std::uint64_t sum = 0;
    for (const model::LinearSpec& linear : architecture_.linears) {
      const auto shape = model::linear_shape(config_, linear.role);
      if (counts(linear.input)) sum += matrix(shape.out_features, shape.in_features);
    }
    return sum;
  }
  std::uint64_t largest_linear() const {
    std::uint64_t most = 0;
    for (const model::LinearSpec& linear : architecture_.linears) {
      const auto shape = model::linear_shape(config_, linear.role);
      most = std::max(most, matrix(shape.out_features, shape.in_features));
    }
    return most;
  }
  std::int64_t most_rows(Site site) const {
    std::int64_t most = 0;
    for (const model::LinearSpec& linear : architecture_.linears) {
      if (linear.input == site) most = std::max(most, model::linear_shape(config_, linear.role).out_features);
    }
    return most;
  }
  /// Codes with their scales and zero points.
  std::uint64_t codes(std::uint64_t weights, std::int64_t width) const {
    return weights + 5 * weights / quant::resolved_group_size(scheme_, static_cast<std::uint64_t>(width));
  }
  /// What the search of a site holds beside H: weights, two sets of codes, and the largest of its steps.
  std::uint64_t search(Site site, bool bf16, bool has_correction) const {
    const std::int64_t width = model::site_width(config_, site);
    const auto size = static_cast<std::int64_t>(quant::resolved_group_size(scheme_, static_cast<std::uint64_t>(width)));
    const std::int64_t rows = most_rows(site);
    const std::uint64_t own = weights([&](Site input) { return input == site; });
    const std::uint64_t square = matrix(width, width);
    const std::uint64_t changes = matrix(rows_per_chunk(rows, width, kernels::cuda::search::kDescentRows), width) * 4;
    const std::uint64_t ranges = 2 * matrix(rows_per_chunk(rows, 36 * size, 16), 36 * size) * 4;
    const std::uint64_t trace =
        matrix(rows_per_chunk(rows, width, 256), width) * (bf16 ? 6 : 8) + (bf16 ? square * 2 : 0);
    const std::uint64_t residual = has_correction && writes_residual(site) ? matrix(config_.hidden_size, width) : 0;
    const std::uint64_t correction = has_correction ? (2 * square + residual) * 4 + changes : 0;
    return own * 4 + 2 * codes(own, width) + std::max({correction, square * 4 + std::max(changes, ranges), trace});
  }
  static bool writes_residual(Site site) { return site == Site::kAttentionOutput || site == Site::kMlpProduct; }

 private:
  const model::ModelConfig& config_;
  const model::Architecture& architecture_;
  const quant::Scheme& scheme_;
};

// Sums, diagonals, scales and the like, and what alignment adds.
constexpr std::uint64_t kSmallBytes = 16 << 20;

}  // namespace

std::uint64_t plan_device_bytes(const model::ModelConfig& config, const model::Architecture& architecture,
                                const PassShape& shape, int streams, bool in_sequence, const quant::Scheme& scheme) {
  const Layer layer(config, architecture, scheme);
  const std::uint64_t element = shape.bf16 ? 2 : 4;
  const std::int64_t tokens = blocks_per_chunk(shape) * shape.length;
  const std::int64_t h = config.hidden_size;
  const bool corrects = in_sequence && streams > 1;
  const std::uint64_t forward = LayerForward::bytes(config, shape);
  const std::uint64_t expanding = layer.codes(layer.largest_linear(), std::max(config.hidden_size, std::int64_t{1}));
  std::uint64_t all_grams = 0;
  std::uint64_t most = 0;
  for (const model::SiteSpec& spec : architecture.sites)
    all_grams += matrix(model::site_width(config, spec.site), model::site_width(config, spec.site)) * 4;
  for (const model::SiteSpec& spec : architecture.sites) {
    const Site site = spec.site;
    const std::int64_t width = model::site_width(config, site);
    const std::uint64_t gram = matrix(width, width) * 4;
    const std::uint64_t rounded = shape.bf16 ? matrix(tokens, width + std::max(width, h)) * 2 : 0;
    if (!in_sequence) {
      const std::uint64_t passes = layer.weights([](Site) { return true; }) * element + all_grams + forward + rounded;
      most = std::max({most, passes + expanding, all_grams + layer.search(site, shape.bf16, false)});
      continue;
    }
    const bool last = site == Site::kMlpProduct;
    const bool residual = corrects && Layer::writes_residual(site);
    const std::uint64_t cross = corrects ? gram + (residual ? matrix(h, width) * 4 : 0) : 0;
    const std::uint64_t kept = corrects ? matrix(tokens, (residual ? 2 : 1) * width + (residual ? h : 0)) * 4 : 0;
    const auto exact_weights = [&](bool all) {
      if (!corrects) return std::uint64_t{0};
      return layer.weights([&](Site input) { return all || input >= Site::kMlpInput; }) * element;
    };
    const model::LayerPart part{.after_attention = last, .last = site};
    const std::uint64_t own = layer.weights([&](Site input) { return quantize::runs(part, input); }) * element;
    const std::uint64_t leaving =
        !last ? 0 : layer.weights([](Site input) { return input >= Site::kMlpInput; }) * element + forward + expanding;
    const std::uint64_t passes = exact_weights(site <= Site::kAttentionOutput || site == Site::kMlpInput) + own +
                                 expanding + gram + cross + kept + rounded + forward;
    const std::uint64_t search =
        (last ? 0 : exact_weights(site < Site::kAttentionOutput)) + gram + layer.search(site, shape.bf16, corrects);
    most = std::max({most, passes, search, leaving});
  }
  const std::uint64_t hidden = matrix(shape.blocks * shape.length, h) * 2;
  return static_cast<std::uint64_t>(streams) * hidden + most + device::MatrixProduct::kWorkspaceBytes + kSmallBytes;
}

}  // namespace awq::gpu_quantize
