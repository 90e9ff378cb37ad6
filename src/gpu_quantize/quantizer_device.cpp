#include "gpu_quantize/quantizer_device.h"

#include "gpu_quantize/device_layer_runner.h"
#include "gpu_quantize/device_site_search.h"
#include "gpu_quantize/memory_plan.h"
#include "kernels/api/cuda_linear.h"
#include "quantize/pipeline.h"

namespace awq::gpu_quantize {

using model::Site;

namespace {

/// A device that has no products in BF16 multiplies in binary32, which a BF16 checkpoint loses nothing by.
PassShape shape_of(std::int64_t blocks, std::int64_t length, ops::Precision precision) {
  using kernels::cuda::Half, kernels::cuda::type_objection;
  const bool lacks_bf16 = type_objection(Half::kBf16) != nullptr && type_objection(Half::kF16) == nullptr;
  return {.blocks = blocks, .length = length, .bf16 = precision == ops::Precision::kBf16 && !lacks_bf16};
}

}  // namespace

void QuantizerDevice::begin(const model::ModelFiles& files, const quantize::CalibrationBlocks& blocks,
                            ops::Precision precision, std::span<quantize::HiddenStates> streams) {
  files_ = &files;
  shape_ = shape_of(blocks.count, blocks.length, precision);
  streams_ = streams;
  streams_there_.clear();
}

void QuantizerDevice::upload_streams() {
  if (!streams_there_.empty()) return;
  for (const quantize::HiddenStates& stream : streams_) {
    const std::span<const std::byte> bytes = stream.bytes();
    Array<std::uint16_t>& there =
        streams_there_.emplace_back(static_cast<std::int64_t>(bytes.size() / sizeof(std::uint16_t)));
    queue_.upload(there.data(), bytes.data(), bytes.size());
  }
}

std::unique_ptr<quantize::LayerRunner> QuantizerDevice::layer(std::int64_t index) {
  upload_streams();
  return std::make_unique<DeviceLayerRunner>(queue_, *files_, index, shape_, streams_there_);
}

quantize::LayerSites QuantizerDevice::collect(std::int64_t index, const model::LayerWeights& weights,
                                              const std::array<bool, model::kRoles>& quantized) {
  upload_streams();
  const model::ModelConfig& config = files_->config();
  std::array<std::optional<SiteSums>, model::kSites> sums;
  for (const model::LinearSpec& linear : files_->architecture().linears) {
    auto& site = sums[static_cast<std::size_t>(linear.input)];
    if (quantized[static_cast<std::size_t>(linear.role)] && !site)
      site.emplace(queue_, model::site_width(config, linear.input), shape_.bf16, false, 0);
  }
  {
    const bool last = index + 1 == config.num_hidden_layers;
    const DeviceLayer layer(queue_, files_->architecture(), weights, {}, shape_.bf16);
    LayerForward forward(queue_, config, index, shape_);
    std::uint16_t* stream = streams_there_.front().data();
    for (std::int64_t block = 0; block < forward.blocks(); block += forward.per_chunk()) {
      forward.run(layer, stream, block, {}, [&](Site site, const float* x, std::int64_t tokens) {
        auto& at = sums[static_cast<std::size_t>(site)];
        if (at) at->add(x, tokens);
      });
      if (!last) forward.store(stream, block);
    }
    queue_.stream().synchronize();
  }
  quantize::LayerSites out;
  for (std::size_t i = 0; i < model::kSites; ++i) {
    if (!sums[i]) continue;
    sums[i]->finish();
    out[i] = std::make_unique<DeviceSiteSearch>(queue_, std::move(*sums[i]));
  }
  return out;
}

void QuantizerDevice::fetch_hidden() {
  for (std::size_t i = 0; i < streams_there_.size(); ++i)
    queue_.download(streams_[i].bytes(), streams_there_[i].data());
}

std::uint64_t CudaChoice::planned_bytes(const model::ModelFiles& files, const quantize::OutputPlan& plan,
                                        std::int64_t blocks, std::int64_t length, ops::Precision precision,
                                        const QuantizeOptions& options) const {
  return plan_device_bytes(files.config(), files.architecture(), shape_of(blocks, length, precision),
                           quantize::stream_count(options), quantize::quantizes_in_sequence(options), plan.scheme);
}

std::unique_ptr<quantize::LayerDevice> CudaChoice::open() const {
  device::open(index_);
  return std::make_unique<QuantizerDevice>();
}

}  // namespace awq::gpu_quantize
