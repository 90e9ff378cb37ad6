// LayerPipeline::run_as_published: one layer as AutoAWQ does it.

#include <algorithm>

#include "base/copy_of.h"
#include "quant/group_quant.h"
#include "quantize/fold_scales.h"
#include "quantize/layer_passes.h"
#include "quantize/paper_recipe.h"
#include "quantize/pipeline.h"
#include "quantize/quadratic_form.h"

namespace awq::quantize {
namespace {

using model::LinearSpec;
using model::Producer;
using model::Role;
using model::Site;
using model::SiteSpec;

// Tokens that the module loss is taken on, in whole blocks from all over the text. AutoAWQ takes all, at twenty passes
// over the layer for each of its scales.
constexpr std::int64_t kModuleTokens = 8192;

struct Searched {
  std::vector<float> channel_scale;  ///< empty: none
  double alpha = -1;
};

/// The module around a site whose output is compared: attention or MLP with everything behind the site, or the one
/// linear. Runs it with some linears replaced.
class Module {
 public:
  Module(LayerPasses& passes, const model::Architecture& architecture, const model::LayerWeights& weights,
         const HiddenStates& stream, Site site, ops::Precision precision, std::int64_t hidden_size)
      : passes_(passes),
        weights_(weights),
        stream_(stream),
        // Hidden states in front of the MLP are the residual stream plus the output of attention; behind the layer,
        // plus that of the MLP.
        part_{.last = site <= Site::kAttentionOutput ? std::optional<Site>(Site::kMlpInput) : std::nullopt},
        hidden_size_(hidden_size),
        layer_(runnable(architecture, weights, part_, precision)) {
    const std::int64_t chunks = (passes.blocks() + passes.per_chunk() - 1) / passes.per_chunk();
    const std::int64_t wanted = std::max<std::int64_t>(1, kModuleTokens / passes.tokens_at(0));
    stride_ = std::max<std::int64_t>(1, chunks / wanted);
    run([&](std::int64_t count) { outputs_.emplace_back(passes_.rows().begin(), passes_.rows().begin() + count); });
  }

  /// Sum of squared changes of the outputs when `tensors` with columns divided by `channel_scale` stand for `roles`.
  double loss(std::span<const Role> roles, std::span<const quant::QuantizedTensor> tensors,
              std::span<const float> channel_scale) {
    for (std::size_t i = 0; i < roles.size(); ++i) replace(roles[i], tensors[i], channel_scale);
    double total = 0;
    std::size_t chunk = 0;
    run([&](std::int64_t count) {
      const std::vector<float>& expected = outputs_[chunk++];
      double sum = 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const double d = static_cast<double>(passes_.rows()[static_cast<std::size_t>(i)]) -
                         static_cast<double>(expected[static_cast<std::size_t>(i)]);
        sum += d * d;
      }
      total += sum;
    });
    return total;
  }

 private:
  void run(const std::function<void(std::int64_t)>& done) {
    for (std::int64_t block = 0; block < passes_.blocks(); block += passes_.per_chunk() * stride_) {
      passes_.forward(layer_, stream_, block, part_);
      done(passes_.tokens_at(block) * hidden_size_);
    }
  }

  void replace(Role role, const quant::QuantizedTensor& tensor, std::span<const float> channel_scale) {
    const auto width = static_cast<std::size_t>(tensor.in_features);
    AlignedBuffer<std::byte> bytes(static_cast<std::size_t>(tensor.out_features) * width * sizeof(float));
    float* out = reinterpret_cast<float*>(bytes.data());
    quant::dequantize(tensor, out);
    for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.out_features) * width; ++i)
      out[i] /= channel_scale[i % width];
    const model::LinearWeights& stored = weights_[role];
    layer_.linears[static_cast<std::size_t>(role)] =
        ops::Linear(tensor.out_features, tensor.in_features, DType::kF32, std::move(bytes), copy_of(stored.bias));
  }

  LayerPasses& passes_;
  const model::LayerWeights& weights_;
  const HiddenStates& stream_;
  model::LayerPart part_;
  std::int64_t hidden_size_;
  model::DecoderLayer layer_;
  std::int64_t stride_ = 1;
  std::vector<std::vector<float>> outputs_;
};

bool is_clipped(Role role) { return role != Role::kQ && role != Role::kK; }

}  // namespace

LayerReport LayerPipeline::run_as_published(std::int64_t index, const LayerPlan& plan, model::LayerWeights& weights) {
  const model::ModelConfig& config = files_.config();
  const model::Architecture& architecture = files_.architecture();
  const auto quantized = [&](Role role) { return plan.quantized[static_cast<std::size_t>(role)]; };
  LayerPasses passes(config, index, blocks_.count, blocks_.length, precision_);
  HiddenStates entering(streams_.front().tokens(), config.hidden_size);
  std::copy(streams_.front().bytes().begin(), streams_.front().bytes().end(), entering.bytes().begin());
  std::array<std::vector<float>, model::kSites> sampled;
  LayerStatistics statistics = collect(index, weights, &sampled);

  // All searches come before the first scale is applied.
  std::array<Searched, model::kSites> found;
  LayerReport report;
  for (const SiteSpec& site : architecture.sites) {
    auto& at = statistics[static_cast<std::size_t>(site.site)];
    if (!at) continue;
    SiteReport row{.site = site.site};
    if (can_fold(config, architecture, plan, site)) {
      std::vector<Role> roles;
      std::vector<AlignedBuffer<float>> floats;
      std::vector<WeightView> views;
      for (const LinearSpec& linear : architecture.linears) {
        if (linear.input != site.site) continue;
        roles.push_back(linear.role);
        floats.push_back(weights[linear.role].to_floats());
        views.push_back({floats.back().data(), static_cast<std::int64_t>(weights[linear.role].out_features)});
      }
      Module module(passes, architecture, weights, entering, site.site, precision_, config.hidden_size);
      ScaleSearchResult result = paper_scale_search(
          views, at->mean_abs(), plan.scheme_at(site.site), [&](std::span<const float> channel_scale) {
            std::vector<quant::QuantizedTensor> tensors;
            for (const WeightView& view : views) {
              tensors.push_back(paper_round(view.data, view.rows, at->width(), channel_scale, plan.scheme_at(site.site),
                                            plan.scale_dtype));
            }
            return module.loss(roles, tensors, channel_scale);
          });
      row.alpha = result.alpha;
      found[static_cast<std::size_t>(site.site)] = {std::move(result.channel_scale), result.alpha};
    }
    report.sites.push_back(row);
  }

  // Producers first: rows are divided before their linear is clipped and rounded.
  std::array<std::vector<float>, model::kRoles> row_scale;
  for (const SiteSpec& site : architecture.sites) {
    std::vector<float>& scale = found[static_cast<std::size_t>(site.site)].channel_scale;
    if (scale.empty()) continue;
    if (site.producer == Producer::kNorm) {
      AlignedBuffer<float>& norm = site.site == Site::kAttentionInput ? weights.input_norm : weights.mlp_norm;
      scale = fold_into_norm(norm.span(), scale, plan.norm_dtype[static_cast<std::size_t>(site.site)]);
    } else {
      row_scale[static_cast<std::size_t>(site.producer == Producer::kValueRows ? Role::kV : Role::kUp)] = scale;
    }
  }
  double error = 0;
  double energy = 0;
  for (const LinearSpec& linear : architecture.linears) {
    if (!quantized(linear.role)) continue;
    model::LinearWeights& stored = weights[linear.role];
    const auto at = static_cast<std::size_t>(linear.input);
    const auto rows = static_cast<std::int64_t>(stored.out_features);
    const auto width = static_cast<std::int64_t>(stored.in_features);
    AlignedBuffer<float> w = stored.to_floats();
    stored.dense = {};
    if (!row_scale[static_cast<std::size_t>(linear.role)].empty())
      fold_into_rows(w.data(), width, stored.bias.span(), row_scale[static_cast<std::size_t>(linear.role)]);
    QuadraticForm form(statistics[at]->gram(), width, plan.precision);
    const std::vector<float> ones(static_cast<std::size_t>(width), 1.0F);
    const quant::Scheme& scheme = plan.scheme_at(linear.input);
    const double before = rounding_loss({w.data(), rows}, ones, form, scheme, plan.scale_dtype);
    const double size = form.trace(rows, [&](std::int64_t begin, std::int64_t end, float* out) {
      std::copy(w.data() + begin * width, w.data() + end * width, out);
    });
    const AlignedBuffer<float> original = copy_of(w);
    const std::vector<float>& scale = found[at].channel_scale;
    std::vector<float> inputs = sampled[at];
    if (!scale.empty()) {
      scale_columns(w.data(), rows, scale);
      for (std::size_t i = 0; i < inputs.size(); ++i) inputs[i] /= scale[i % scale.size()];
    }
    double clipped = 0;
    if (plan.search_ranges && is_clipped(linear.role))
      clipped = paper_clip(w.data(), rows, width, inputs, scheme, plan.scale_dtype);
    quant::QuantizedTensor tensor = paper_round(w.data(), rows, width, {}, scheme, plan.scale_dtype);
    quant::check_scales(tensor, files_.linear_name(index, linear).c_str());
    const double after = form.trace(rows, [&](std::int64_t begin, std::int64_t end, float* out) {
      quant::dequantize_rows(tensor, static_cast<std::uint64_t>(begin), static_cast<std::uint64_t>(end), out);
      for (std::int64_t i = 0; i < (end - begin) * width; ++i) {
        if (!scale.empty()) out[i] /= scale[static_cast<std::size_t>(i % width)];
        out[i] -= original[static_cast<std::size_t>(begin * width + i)];
      }
    });
    const auto relative = [&](double value) { return size > 0 ? std::max(value, 0.0) / size : 0.0; };
    report.linears.push_back({linear.role, relative(before), relative(after), clipped});
    error += std::max(after, 0.0);
    energy += size;
    stored.quantized = std::move(tensor);
  }
  report.mean_error = energy > 0 ? error / energy : 0;
  return report;
}

}  // namespace awq::quantize
