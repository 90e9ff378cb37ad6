#pragma once

#include <array>

#include "gpu_quantize/queue.h"
#include "model/decoder.h"
#include "model/model_files.h"

namespace awq::gpu_quantize {

/// A linear as one pass over many tokens wants it: dense, bf16 where products are, else binary32.
struct DeviceLinear {
  std::int64_t out_features = 0, in_features = 0;
  Array<std::byte> weight;
  Array<float> bias;  ///< [out] or empty
};

/// The layer that runs `part` of `weights`; the other linears are empty. Codes are expanded on the device.
struct DeviceLayer {
  DeviceLayer(Queue& queue, const model::Architecture& architecture, const model::LayerWeights& weights,
              const model::LayerPart& part, bool bf16);
  const DeviceLinear& operator[](model::Role role) const { return linears[static_cast<std::size_t>(role)]; }
  /// Gives up the linears outside of `part`; all of them without one.
  void keep(const model::Architecture& architecture, const std::optional<model::LayerPart>& part);

  std::array<DeviceLinear, model::kRoles> linears;
  Array<float> input_norm, mlp_norm, q_norm, k_norm;
};

}  // namespace awq::gpu_quantize
