#include "gpu_quantize/device_layer_runner.h"

#include "gpu_quantize/device_site_search.h"
#include "kernels/api/cuda_calibrate.h"

namespace awq::gpu_quantize {

using device::check;
using model::Site;
namespace calibrate = kernels::cuda::calibrate;

DeviceLayerRunner::DeviceLayerRunner(Queue& queue, const model::ModelFiles& files, std::int64_t index,
                                     const PassShape& shape, std::span<Array<std::uint16_t>> streams)
    : queue_(queue), files_(files), shape_(shape), streams_(streams), forward_(queue, files.config(), index, shape) {
  if (streams.size() > 1)
    exact_.emplace(queue, files.architecture(), files.load_layer(index), model::LayerPart{}, shape.bf16);
}

void DeviceLayerRunner::keep(Kept& kept, const float* x, std::int64_t tokens, std::int64_t width, bool with_residual) {
  const auto copy = [&](Array<float>& to, const float* from, std::int64_t count) {
    to.ensure(count);
    device::copy(to.data(), from, static_cast<std::uint64_t>(count) * sizeof(float), queue_.stream());
  };
  copy(kept.inputs, x, tokens * width);
  if (with_residual) copy(kept.residual, forward_.hidden(), tokens * files_.config().hidden_size);
}

void DeviceLayerRunner::add(Kept& kept, const float* x, std::int64_t tokens, bool with_residual, SiteSums& sums) {
  if (!with_residual) {
    sums.add(x, tokens);
    sums.add_gap(kept.inputs.data(), x, nullptr, tokens);
    return;
  }
  // What is added to the residual stream counts relative to its size there, because whatever reads it normalises it.
  const std::int64_t h = files_.config().hidden_size;
  const std::int64_t width = sums.width();
  kept.weights.ensure(tokens);
  kept.weighted.ensure(tokens * width);
  const float* weights = kept.weights.data();
  check(calibrate::residual_weights(forward_.hidden(), tokens, h, kept.weights.data(), queue_.get()),
        "the residual stream");
  check(calibrate::weigh_gap(kept.residual.data(), forward_.hidden(), weights, tokens, h, queue_.get()),
        "the residual stream");
  device::copy(kept.weighted.data(), x, static_cast<std::uint64_t>(tokens * width) * sizeof(float), queue_.stream());
  check(calibrate::weigh(kept.weighted.data(), weights, tokens, width, queue_.get()), "weighted activations");
  check(calibrate::weigh(kept.inputs.data(), weights, tokens, width, queue_.get()), "weighted activations");
  sums.add(kept.weighted.data(), tokens);
  sums.add_gap(kept.inputs.data(), kept.weighted.data(), kept.residual.data(), tokens);
}

std::unique_ptr<quantize::SiteSearch> DeviceLayerRunner::observe(const quantize::SitePass& pass,
                                                                 const model::LayerWeights& weights) {
  const model::ModelConfig& config = files_.config();
  const std::int64_t width = model::site_width(config, pass.site);
  const bool with_residual = pass.exact && (pass.site == Site::kAttentionOutput || pass.site == Site::kMlpProduct);
  SiteSums sums(queue_, width, shape_.bf16, pass.exact.has_value(), with_residual ? config.hidden_size : 0);
  {
    const DeviceLayer layer(queue_, files_.architecture(), weights, pass.quantized.part, shape_.bf16);
    Kept kept;
    // One chunk of blocks as far as a stream goes.
    const auto run = [&](const DeviceLayer& through, const quantize::StreamPass& way, std::int64_t block,
                         const std::function<void(const float*, std::int64_t)>& seen) {
      std::uint16_t* stream = streams_[way.stream].data();
      forward_.run(through, stream, block, way.part, [&](Site site, const float* x, std::int64_t tokens) {
        if (site == pass.site) seen(x, tokens);
      });
      if (way.store) forward_.store(stream, block);
    };
    for (std::int64_t block = 0; block < forward_.blocks(); block += forward_.per_chunk()) {
      if (pass.exact) {
        run(*exact_, *pass.exact, block,
            [&](const float* x, std::int64_t tokens) { keep(kept, x, tokens, width, with_residual); });
      }
      run(layer, pass.quantized, block, [&](const float* x, std::int64_t tokens) {
        if (pass.exact) {
          add(kept, x, tokens, with_residual, sums);
        } else {
          sums.add(x, tokens);
        }
      });
    }
    sums.finish();
  }
  // The search needs the memory of what no pass will need again.
  forward_.release();
  if (exact_) exact_->keep(files_.architecture(), pass.exact_rest);
  return std::make_unique<DeviceSiteSearch>(queue_, std::move(sums));
}

void DeviceLayerRunner::advance(const quantize::StreamPass& pass, const model::LayerWeights* weights) {
  std::optional<DeviceLayer> own;
  if (weights != nullptr) own.emplace(queue_, files_.architecture(), *weights, pass.part, shape_.bf16);
  const DeviceLayer& layer = own ? *own : *exact_;
  std::uint16_t* stream = streams_[pass.stream].data();
  for (std::int64_t block = 0; block < forward_.blocks(); block += forward_.per_chunk()) {
    forward_.run(layer, stream, block, pass.part, [](Site, const float*, std::int64_t) {});
    forward_.store(stream, block);
  }
  queue_.stream().synchronize();  // before the layer goes
}

}  // namespace awq::gpu_quantize
